// SPDX-License-Identifier: BSD-2-Clause
// vcpu_op: bringing vCPUs up and down, runstate, timers, the vcpu_info page.
#include <core/hypercall/handlers.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/context.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_table.hpp>
#include <core/sched/scheduler.hpp>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

constexpr std::uint64_t shortest_period_ns = 1'000'000;

Status initialise(Vcpu& current, Vcpu& target, std::uint64_t argument) {
    if (target.id.raw() >= CERO_LEGACY_MAX_VCPUS && target.info_frame == invalid_frame) return Errno::inval;
    // 5 KiB: too much for the stack. The domain's lock makes the one copy ours.
    static cero_vcpu_guest_context context;
    static Spinlock<LockRank::domain> lock;
    LockGuard guard{lock};
    // Only now: another vCPU may have done it meanwhile, and what runs must keep its roots and its GDT.
    if (target.is_initialised()) return Errno::exist;
    if (!arch::copy_from_guest(&context, GuestVirt{argument}, sizeof context)) return Errno::fault;
    return install_context(current, target, context);
}

Status bring_down(Vcpu& target) {
    Domain& domain = *target.domain;
    bool last = true;
    {
        LockGuard guard{domain.lock};
        if (target.is_down()) return {};
        target.flags.fetch_or(vcpu_flag::down, Order::seq_cst);
        domain.for_each_vcpu([&](Vcpu& vcpu) { last = last && vcpu.is_down(); });
    }
    stop_timer(target.singleshot);
    stop_timer(target.periodic);
    sched::stop(target);
    if (last) domain.shut_down(CERO_SHUTDOWN_poweroff);
    return {};
}

Status bring_up(Vcpu& target) {
    if (!target.is_initialised()) return Errno::inval;
    {
        LockGuard guard{target.domain->lock};
        target.flags.fetch_and(~vcpu_flag::down, Order::seq_cst);
    }
    sched::wake(target);
    return {};
}

Status set_periodic(Vcpu& target, const cero_vcpu_set_periodic_timer& request) {
    if (request.period_ns < shortest_period_ns || static_cast<std::int64_t>(request.period_ns) < 0) return Errno::inval;
    __atomic_store_n(&target.period_ns, request.period_ns, __ATOMIC_RELAXED);
    set_timer(target.periodic, Nanoseconds{arch::system_time().raw() + request.period_ns});
    return {};
}

Status stop_periodic(Vcpu& target) {
    __atomic_store_n(&target.period_ns, std::uint64_t{0}, __ATOMIC_RELAXED);
    stop_timer(target.periodic);
    return {};
}

Status set_singleshot(Vcpu& current, Vcpu& target, std::uint64_t argument) {
    if (&target != &current) return Errno::inval;
    const auto request = TRY(GuestPtr<cero_vcpu_set_singleshot_timer>{argument}.read());
    if ((request.flags & CERO_VCPU_SSHOTTMR_future) != 0 && request.timeout_abs_ns < arch::system_time().raw())
        return Errno::time;
    set_timer(target.singleshot, Nanoseconds{request.timeout_abs_ns});
    return {};
}

/// From now on the guest looks for events of the vCPU at this place.
Status register_info(Vcpu& target, const cero_vcpu_register_vcpu_info& request) {
    Domain& domain = *target.domain;
    if (request.offset > page_size - sizeof(cero_vcpu_info) || request.offset % 8 != 0) return Errno::nxio;
    const MachineFrame frame{request.mfn};
    LockGuard guard{domain.lock};
    if (target.info_frame != invalid_frame) return Errno::busy;
    TRY(frame_get_writable(frame, domain.slot));
    auto* fresh = reinterpret_cast<cero_vcpu_info*>(arch::frame_ptr<unsigned char>(frame) + request.offset);
    const cero_vcpu_info* old = target.arch.info;
    const bool had_one = target.id.raw() < CERO_LEGACY_MAX_VCPUS;
    *fresh = had_one ? *old : cero_vcpu_info{};
    fresh->evtchn_upcall_mask = had_one ? old->evtchn_upcall_mask : 1;
    __atomic_store_n(&target.arch.info, fresh, __ATOMIC_SEQ_CST);
    target.info_frame = frame;
    // An event that was signalled while the place moved may be in the old one: let the guest look
    // at everything.
    __atomic_store_n(&fresh->evtchn_pending_sel, ~0ull, __ATOMIC_SEQ_CST);
    publish_time(target);
    event::mark_pending(target);
    __atomic_store_n(&fresh->evtchn_upcall_pending, std::uint8_t{1}, __ATOMIC_SEQ_CST);
    return {};
}

Status register_runstate(Vcpu& current, Vcpu& target, std::uint64_t argument) {
    const auto area = TRY(GuestPtr<cero_vcpu_register_runstate_memory_area>{argument}.read());
    target.runstate_area = GuestVirt{area.addr};
    if (&target == &current) publish_areas(target);
    return {};
}

Status register_time_area(Vcpu& current, Vcpu& target, std::uint64_t argument) {
    const auto area = TRY(GuestPtr<cero_vcpu_register_time_memory_area>{argument}.read());
    target.time_area = GuestVirt{area.addr};
    if (area.addr == 0 || &target != &current) return {};
    if (publish_time_area(target)) return {};
    target.time_area = GuestVirt{};
    return Errno::fault;
}

Status send_nmi(Vcpu& current, Vcpu& target) {
    arch::queue_nmi(target);
    sched::unblock(target);
    if (target.is_running.load(Order::seq_cst) && &target != &current) arch::send_event_check(target.last_cpu());
    return {};
}

Status dispatch(Vcpu& current, Vcpu& target, std::uint32_t command, std::uint64_t argument) {
    switch (command) {
    case CERO_VCPUOP_set_singleshot_timer: return set_singleshot(current, target, argument);
    case CERO_VCPUOP_stop_singleshot_timer:
        if (&target != &current) return Errno::inval;
        stop_timer(target.singleshot);
        return {};
    case CERO_VCPUOP_initialise: return initialise(current, target, argument);
    case CERO_VCPUOP_up: return bring_up(target);
    case CERO_VCPUOP_down: return bring_down(target);
    case CERO_VCPUOP_get_runstate_info:
        return GuestPtr<cero_vcpu_runstate_info>{argument}.write(sched::runstate(target));
    case CERO_VCPUOP_register_runstate_memory_area: return register_runstate(current, target, argument);
    case CERO_VCPUOP_set_periodic_timer: return with_structure(target, argument, &set_periodic);
    case CERO_VCPUOP_stop_periodic_timer: return stop_periodic(target);
    case CERO_VCPUOP_register_vcpu_info: return with_structure(target, argument, &register_info);
    case CERO_VCPUOP_send_nmi: return send_nmi(current, target);
    case CERO_VCPUOP_register_vcpu_time_memory_area: return register_time_area(current, target, argument);
    default: return Errno::nosys;
    }
}

} // namespace

Result<std::int64_t> vcpu_op(Vcpu& current, std::uint32_t command, std::uint32_t id, std::uint64_t argument) {
    Vcpu* const target = current.domain->vcpu(id);
    if (target == nullptr) return Errno::noent;
    if (command == CERO_VCPUOP_is_up) return std::int64_t{target->is_down() ? 0 : 1};
    const Status done = dispatch(current, *target, command, argument);
    if (done.error() == Errno::restart) return hypercall_continue(current, command, id, argument);
    return -static_cast<std::int64_t>(done.error());
}

} // namespace cero
