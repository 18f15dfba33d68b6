// SPDX-License-Identifier: BSD-2-Clause
// sched_op: yield, block, poll, shutdown, watchdogs.
#include <core/hypercall/handlers.hpp>

#include <arch/api/clock.hpp>
#include <core/event/event.hpp>
#include <core/sched/scheduler.hpp>

namespace cero {
namespace {

constexpr std::uint32_t max_polled_ports = 128;

bool has_event(const Vcpu& vcpu) noexcept {
    const cero_vcpu_info& info = *vcpu.arch.info;
    return __atomic_load_n(&info.evtchn_upcall_pending, __ATOMIC_SEQ_CST) != 0 &&
           __atomic_load_n(&info.evtchn_upcall_mask, __ATOMIC_RELAXED) == 0;
}

/// Sleeps unless an event came before. Whoever signals one after the flag is set clears the flag.
Status block(Vcpu& current) {
    __atomic_store_n(&current.arch.info->evtchn_upcall_mask, std::uint8_t{0}, __ATOMIC_RELAXED);
    current.flags.fetch_or(vcpu_flag::blocked, Order::seq_cst);
    if (has_event(current) || (current.arch.exit_work & arch::exit_nmi) != 0) {
        current.flags.fetch_and(~vcpu_flag::blocked, Order::relaxed);
        return {};
    }
    arch::raise_softirq(arch::Softirq::schedule);
    return {};
}

Status poll(Vcpu& current, const cero_sched_poll& request) {
    if (request.nr_ports > max_polled_ports) return Errno::inval;
    Domain& domain = *current.domain;
    std::uint32_t ports[max_polled_ports];
    const GuestSpan<cero_evtchn_port> span{GuestPtr<cero_evtchn_port>{request.ports}, request.nr_ports};
    TRY(span.read_many(0, ports, request.nr_ports));
    for (std::uint32_t n = 0; n < request.nr_ports; ++n)
        if (domain.events.find(EventPort{ports[n]}) == nullptr) return Errno::inval;

    current.poll_port = request.nr_ports == 1 ? ports[0] : 0;
    current.flags.fetch_or(vcpu_flag::blocked, Order::seq_cst);
    domain.polling_vcpus.fetch_or(1ull << current.id.raw(), Order::seq_cst);
    bool ready = has_event(current);
    for (std::uint32_t n = 0; n < request.nr_ports && !ready; ++n) ready = event::is_pending(domain, ports[n]);
    if (ready || (request.timeout != 0 && request.timeout <= arch::system_time().raw())) {
        domain.polling_vcpus.fetch_and(~(1ull << current.id.raw()), Order::relaxed);
        current.flags.fetch_and(~vcpu_flag::blocked, Order::relaxed);
        return {};
    }
    if (request.timeout != 0)
        set_timer(current.poll_timer, Nanoseconds{request.timeout});
    else
        stop_timer(current.poll_timer);
    arch::raise_softirq(arch::Softirq::schedule);
    return {};
}

Status shutdown(Vcpu& current, const cero_sched_shutdown& request) {
    if (request.reason > CERO_SHUTDOWN_soft_reset) return Errno::inval;
    if (request.reason == CERO_SHUTDOWN_crash) current.domain->crash("its kernel asked for it");
    current.domain->shut_down(request.reason);
    return {};
}

Status remote_shutdown(Vcpu& current, const cero_sched_remote_shutdown& request) {
    if (!current.domain->is_control) return Errno::perm;
    const DomainRef domain = find_domain(DomainId{request.domain_id});
    if (!domain) return Errno::srch;
    domain->shut_down(request.reason & 0xff);
    return {};
}

void on_watchdog(Timer& timer) { static_cast<Domain*>(timer.owner)->shut_down(CERO_SHUTDOWN_watchdog); }

/// id 0: a new watchdog, whose id is the result; else a new timeout for one, or with 0 its end.
Result<std::int64_t> watchdog(Vcpu& current, std::uint64_t argument) {
    const auto request = TRY(GuestPtr<cero_sched_watchdog>{argument}.read());
    Domain& domain = *current.domain;
    const Nanoseconds deadline{arch::system_time().raw() + request.timeout * 1'000'000'000ull};
    LockGuard guard{domain.lock};
    if (request.id > Domain::watchdog_count || (request.id == 0 && request.timeout == 0)) return Errno::inval;
    if (request.id == 0) {
        for (unsigned n = 0; n < Domain::watchdog_count; ++n) {
            if (domain.watchdogs[n].is_armed()) continue;
            domain.watchdogs[n].bind(&on_watchdog, &domain);
            set_timer(domain.watchdogs[n], deadline);
            return std::int64_t{n} + 1;
        }
        return Errno::nospc;
    }
    Timer& timer = domain.watchdogs[request.id - 1];
    if (!timer.is_armed()) return Errno::inval;
    if (request.timeout != 0)
        set_timer(timer, deadline);
    else
        stop_timer(timer); // may have expired: its callback needs what it is bound to
    return std::int64_t{0};
}

Status dispatch(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    switch (command) {
    case CERO_SCHEDOP_yield: sched::yield(); return {};
    case CERO_SCHEDOP_block: return block(current);
    case CERO_SCHEDOP_poll: return with_structure(current, argument, &poll);
    case CERO_SCHEDOP_shutdown: return with_structure(current, argument, &shutdown);
    case CERO_SCHEDOP_remote_shutdown: return with_structure(current, argument, &remote_shutdown);
    case CERO_SCHEDOP_shutdown_code: {
        const auto request = TRY(GuestPtr<cero_sched_shutdown>{argument}.read());
        LockGuard guard{current.domain->lock};
        current.domain->shutdown_code = request.reason;
        return {};
    }
    default: return Errno::nosys;
    }
}

} // namespace

Result<std::int64_t> sched_op(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    if (command == CERO_SCHEDOP_watchdog) return watchdog(current, argument);
    return -static_cast<std::int64_t>(dispatch(current, command, argument).error());
}

} // namespace cero
