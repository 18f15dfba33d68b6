// SPDX-License-Identifier: BSD-2-Clause
// Clocks from the hypervisor's time records, timers, and the VIRQ_TIMER behind them.
#include "arch/x86_64/cpu.hpp"
#include "event/upcall.hpp"
#include "sched/run_state.hpp"
#include "sched/thread.hpp"
#include "sched/timer_queue.hpp"

#include <kernel/event.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

namespace kernel {

namespace {

TimerQueue queue;
Nanoseconds programmed = ~Nanoseconds{0}; ///< deadline that the hypervisor knows
std::int64_t wall_offset;                 ///< set by set_wall_ns, on top of the hypervisor's

__extension__ using Wide = unsigned __int128;

std::uint64_t scale(std::uint64_t cycles, const cero_vcpu_time_info& time) noexcept {
    cycles = time.tsc_shift >= 0 ? cycles << time.tsc_shift : cycles >> -time.tsc_shift;
    return static_cast<std::uint64_t>((static_cast<Wide>(cycles) * time.tsc_to_system_mul) >> 32);
}

/// The hypervisor writes it whenever this vCPU gets a CPU, once it was told of it.
cero_vcpu_runstate_info run_state;

void timer_event(event::Port, void*) {
    programmed = ~Nanoseconds{0};
    queue.run_expired(monotonic_ns());
}

} // namespace

Nanoseconds monotonic_ns() noexcept {
    const volatile cero_vcpu_time_info& time = this_vcpu_info().time;
    for (;;) {
        const std::uint32_t version = time.version;
        barrier();
        cero_vcpu_time_info copy{};
        copy.tsc_timestamp = time.tsc_timestamp;
        copy.system_time = time.system_time;
        copy.tsc_to_system_mul = time.tsc_to_system_mul;
        copy.tsc_shift = time.tsc_shift;
        const std::uint64_t now = read_tsc();
        barrier();
        if ((version & 1) == 0 && time.version == version)
            return copy.system_time + scale(now - copy.tsc_timestamp, copy);
    }
}

void watch_stolen_time() noexcept {
    const cero_vcpu_register_runstate_memory_area area{by_address(&run_state)};
    if (hyper::vcpu_op(CERO_VCPUOP_register_runstate_memory_area, 0, &area) != 0)
        printk(Level::warning,
               "time: the hypervisor keeps no record of this vCPU's run states: the "
               "share of guests' events is of real time\n");
}

Nanoseconds stolen_ns() noexcept {
    const volatile cero_vcpu_runstate_info& state = run_state;
    return state.time[CERO_RUNSTATE_runnable] + state.time[CERO_RUNSTATE_offline];
}

Nanoseconds cycles_to_ns(std::uint64_t cycles) noexcept {
    return scale(cycles, this_vcpu_info().time);
}

namespace {
/// Wall-clock time at monotonic zero.
Nanoseconds wall_base() noexcept {
    const volatile cero_shared_info& info = shared_info();
    for (;;) {
        const std::uint32_t version = info.wc_version;
        barrier();
        const std::uint64_t seconds =
            (static_cast<std::uint64_t>(info.wc_sec_hi) << 32) | info.wc_sec;
        const std::uint64_t nanoseconds = info.wc_nsec;
        barrier();
        if ((version & 1) == 0 && info.wc_version == version)
            return seconds * ns_per_s + nanoseconds;
    }
}
} // namespace

Nanoseconds wall_ns() noexcept {
    return wall_base() + monotonic_ns() + static_cast<Nanoseconds>(wall_offset);
}

void set_wall_ns(Nanoseconds now) noexcept {
    wall_offset = static_cast<std::int64_t>(now - wall_base() - monotonic_ns());
}

void Timer::arm(Nanoseconds deadline) noexcept {
    EventGuard guard;
    queue.insert(*this, deadline);
}

void Timer::cancel() noexcept {
    EventGuard guard;
    TimerQueue::remove(*this);
}

bool timer_needs_programming() noexcept {
    return queue.earliest() < programmed;
}

void program_timer() noexcept {
    const Nanoseconds earliest = queue.earliest();
    if (earliest >= programmed)
        return; // a timer that fires too early finds nothing to do
    programmed = earliest;
    const cero_vcpu_set_singleshot_timer argument{earliest, 0, 0};
    if (hyper::vcpu_op(CERO_VCPUOP_set_singleshot_timer, 0, &argument) != 0)
        panic("the hypervisor refused a timer");
}

void init_time() noexcept {
    static_cast<void>(hyper::vcpu_op(CERO_VCPUOP_stop_periodic_timer, 0, nullptr));
    auto port = event::bind_virq(CERO_VIRQ_TIMER);
    if (!port)
        panic("no timer interrupt: error %d", static_cast<int>(port.error()));
    event::set_handler(*port, timer_event, nullptr);
}

} // namespace kernel
