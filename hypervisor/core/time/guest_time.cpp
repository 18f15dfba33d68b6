// SPDX-License-Identifier: BSD-2-Clause
// Publishing time and runstate to guests.
#include <core/time/guest_time.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/hooks.hpp>
#include <core/hypercall/handlers.hpp>

namespace cero {
namespace {

/// Added to the CMOS clock's reading: what the control domain has set since.
Atomic<std::uint64_t> wall_seconds; ///< UTC at system time 0; 0 = as the CMOS clock said
Atomic<std::uint32_t> wall_nanoseconds;

void store_version(std::uint32_t& word, std::uint32_t value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

cero_vcpu_time_info current_time_info(std::uint32_t version) noexcept {
    const arch::TscScale& scale = arch::tsc_scale();
    return {.version = version,
            .pad0 = 0,
            .tsc_timestamp = scale.tsc_base,
            .system_time = scale.system_base,
            .tsc_to_system_mul = scale.mul,
            .tsc_shift = scale.shift,
            .flags = static_cast<std::uint8_t>(scale.stable ? CERO_PVCLOCK_TSC_STABLE : 0),
            .pad1 = {}};
}

} // namespace

void publish_time(Vcpu& vcpu) {
    vcpu.time_version += 2; // even, and greater than what any earlier location showed
    cero_vcpu_time_info& out = vcpu.arch.info->time;
    store_version(out.version, vcpu.time_version - 1);
    out = current_time_info(vcpu.time_version - 1);
    store_version(out.version, vcpu.time_version);
}

bool publish_time_area(Vcpu& vcpu) {
    cero_vcpu_time_info time = current_time_info(vcpu.time_version);
    return arch::copy_to_guest(vcpu.time_area, &time, sizeof time);
}

void publish_wall_clock(Domain& domain) {
    cero_shared_info& shared = *domain.shared_info;
    std::uint64_t seconds = wall_seconds.load(Order::acquire);
    if (seconds == 0) seconds = arch::wall_clock_at_boot();
    const std::uint32_t version = (shared.wc_version | 1) + 2;
    store_version(shared.wc_version, version);
    shared.wc_sec = static_cast<std::uint32_t>(seconds);
    shared.wc_sec_hi = static_cast<std::uint32_t>(seconds >> 32);
    shared.wc_nsec = wall_nanoseconds.load(Order::relaxed);
    store_version(shared.wc_version, version + 1);
}

void set_wall_clock(std::uint64_t seconds, std::uint32_t nanoseconds, Nanoseconds at) {
    constexpr std::uint64_t second = 1'000'000'000;
    const std::uint64_t total = seconds * second + nanoseconds - at.raw();
    wall_nanoseconds.store(static_cast<std::uint32_t>(total % second), Order::relaxed);
    wall_seconds.store(total / second, Order::release);
    for_each_domain([](Domain& domain) { publish_wall_clock(domain); });
}

void change_runstate(Vcpu& vcpu, std::uint32_t state, Nanoseconds now) {
    cero_vcpu_runstate_info& info = vcpu.runstate;
    if (now.raw() > info.state_entry_time) { // else another CPU was quicker since `now`
        info.time[info.state] += now.raw() - info.state_entry_time;
        info.state_entry_time = now.raw();
    }
    info.state = state;
}

void publish_areas(Vcpu& vcpu) {
    if (vcpu.runstate_area.raw() == 0) return;
    cero_vcpu_runstate_info copy = vcpu.runstate;
    const GuestVirt entry_time = vcpu.runstate_area + offsetof(cero_vcpu_runstate_info, state_entry_time);
    const bool flag = (vcpu.domain->vm_assist >> CERO_VMASST_TYPE_runstate_update_flag & 1) != 0;
    if (flag) { // readers on other vCPUs retry while the flag is set
        copy.state_entry_time |= CERO_RUNSTATE_UPDATE;
        if (!arch::copy_to_guest(entry_time, &copy.state_entry_time, 8)) return;
    }
    // An address that cannot be written is the guest's loss.
    if (!arch::copy_to_guest(vcpu.runstate_area, &copy, sizeof copy) || !flag) return;
    copy.state_entry_time &= ~CERO_RUNSTATE_UPDATE;
    static_cast<void>(arch::copy_to_guest(entry_time, &copy.state_entry_time, 8));
}

void core::write_time_areas(Vcpu& vcpu) noexcept { publish_areas(vcpu); }

Status set_timer_op(Vcpu& current, std::uint64_t deadline) {
    constexpr std::uint64_t too_far = 1ull << 50;
    constexpr std::uint64_t fallback_ns = 100'000'000;
    const std::uint64_t now = arch::system_time().raw();
    if (deadline > now && deadline - now > too_far) deadline = now + fallback_ns; // a negative one, too
    if (deadline == 0)
        stop_timer(current.singleshot);
    else
        set_timer(current.singleshot, Nanoseconds{deadline});
    return {};
}

} // namespace cero
