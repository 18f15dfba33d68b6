// SPDX-License-Identifier: BSD-2-Clause
// domctl: making, describing and controlling domains.
#include <core/hypercall/handlers.hpp>

#include <arch/api/context.hpp>
#include <core/boot/dom0.hpp>
#include <core/domain/domain.hpp>
#include <core/frame/frame_table.hpp>
#include <core/sched/scheduler.hpp>

namespace cero {
namespace {

/// One operation at a time. It also owns `context_buffer`.
Spinlock<LockRank::control> control_lock;
cero_vcpu_guest_context context_buffer;

Status create(cero_domctl& op) {
    const cero_domctl_createdomain& request = op.u.createdomain;
    if ((request.flags & (CERO_DOMCTL_CDF_hvm | CERO_DOMCTL_CDF_hap)) != 0) return Errno::opnotsupp;
    DomainId id{op.domain};
    if (op.domain == 0 || op.domain >= CERO_DOMID_FIRST_RESERVED) id = TRY(free_domain_id());
    DomainSettings settings{.vcpus = request.max_vcpus};
    if (request.max_evtchn_port < CERO_EVTCHN_2L_PORTS - 1) settings.event_ports = request.max_evtchn_port + 1;
    Domain& domain = *TRY(create_domain(id, settings));
    __builtin_memcpy(domain.handle, request.handle, sizeof domain.handle);
    domain.ssidref = request.ssidref;
    domain.create_flags = request.flags;
    op.domain = id.raw();
    return {};
}

Status pause(Domain& domain) {
    if (domain.is_control || domain.paused_by_controller) return Errno::inval;
    domain.paused_by_controller = true;
    sched::pause_and_wait(domain);
    return {};
}

Status unpause(Domain& domain) {
    if (!domain.paused_by_controller || domain.is_dying()) return Errno::inval;
    domain.paused_by_controller = false;
    sched::unpause(domain);
    return {};
}

Result<Vcpu*> vcpu_of(Domain& domain, std::uint32_t id) {
    if (Vcpu* vcpu = domain.vcpu(id)) return vcpu;
    return Errno::srch;
}

Status set_context(Vcpu& current, Domain& domain, const cero_domctl_vcpucontext& request) {
    Vcpu& vcpu = *TRY(vcpu_of(domain, request.vcpu));
    if (&domain == current.domain || domain.is_dying()) return Errno::inval;
    if (!arch::copy_from_guest(&context_buffer, GuestVirt{request.ctxt}, sizeof context_buffer)) return Errno::fault;
    sched::pause_and_wait(domain);
    const Status installed = install_context(current, vcpu, context_buffer);
    if (installed && vcpu.id.raw() == 0) domain.vm_assist |= context_buffer.vm_assist;
    if (installed && (context_buffer.flags & CERO_VGCF_online) != 0)
        vcpu.flags.fetch_and(~vcpu_flag::down, Order::seq_cst);
    sched::unpause(domain);
    return installed.error();
}

Status get_context(Vcpu& current, Domain& domain, const cero_domctl_vcpucontext& request) {
    Vcpu& vcpu = *TRY(vcpu_of(domain, request.vcpu));
    if (&domain == current.domain) return Errno::inval;
    if (!vcpu.is_initialised()) return Errno::nodata;
    sched::pause_and_wait(domain);
    arch::get_guest_context(vcpu, context_buffer);
    context_buffer.ctrlreg[3] = vcpu.kernel_root.raw() << page_shift;
    if (vcpu.user_root != invalid_frame) context_buffer.ctrlreg[1] = vcpu.user_root.raw() << page_shift | 1;
    sched::unpause(domain);
    if (!arch::copy_to_guest(GuestVirt{request.ctxt}, &context_buffer, sizeof context_buffer)) return Errno::fault;
    return {};
}

Status vcpu_info(Domain& domain, cero_domctl_getvcpuinfo& info) {
    Vcpu& vcpu = *TRY(vcpu_of(domain, info.vcpu));
    info.online = vcpu.is_down() ? 0 : 1;
    info.blocked = vcpu.is_blocked() ? 1 : 0;
    info.running = vcpu.is_running.load(Order::relaxed) ? 1 : 0;
    info.cpu_time = sched::cpu_time(vcpu).raw();
    info.cpu = vcpu.last_cpu().raw();
    return {};
}

/// Up to 64 CPUs of a bitmap; absent ones read as zero.
Result<CpuMask> read_bitmap(const cero_bitmap& map) {
    std::uint64_t bits = 0;
    const std::size_t bytes = map.nr_bits < max_cpus ? (map.nr_bits + 7) / 8 : 8;
    if (!arch::copy_from_guest(&bits, GuestVirt{map.bitmap}, bytes)) return Errno::fault;
    if (map.nr_bits < max_cpus) bits &= (1ull << map.nr_bits) - 1;
    return CpuMask{bits};
}

Status write_bitmap(const cero_bitmap& map, CpuMask cpus) {
    std::uint64_t bits = cpus.raw();
    const std::size_t bytes = (map.nr_bits + 7) / 8;
    for (std::size_t done = 0; done < bytes; done += 8, bits = 0) {
        const std::size_t now = bytes - done < 8 ? bytes - done : 8;
        if (!arch::copy_to_guest(GuestVirt{map.bitmap + done}, &bits, now)) return Errno::fault;
        if (done > page_size) return Errno::inval;
    }
    return {};
}

Status affinity(Domain& domain, cero_domctl_vcpuaffinity& request, bool set) {
    Vcpu& vcpu = *TRY(vcpu_of(domain, request.vcpu));
    if ((request.flags & (CERO_VCPUAFFINITY_HARD | CERO_VCPUAFFINITY_SOFT)) == 0) return Errno::inval;
    const bool hard = (request.flags & CERO_VCPUAFFINITY_HARD) != 0;
    if (set && hard) {
        const CpuMask cpus = TRY(read_bitmap(request.cpumap_hard));
        TRY(sched::set_affinity(vcpu, cpus));
    }
    if (hard) TRY(write_bitmap(request.cpumap_hard, vcpu.affinity & arch::online_cpus()));
    if ((request.flags & CERO_VCPUAFFINITY_SOFT) != 0) // there is no soft affinity: all CPUs
        TRY(write_bitmap(request.cpumap_soft, arch::online_cpus()));
    return {};
}

Status scheduler(Domain& domain, cero_domctl_scheduler_op& request) {
    if (request.sched_id != CERO_SCHEDULER_CREDIT2) return Errno::inval;
    switch (request.cmd) {
    case CERO_DOMCTL_SCHEDOP_putinfo: return sched::set_share(domain, request.u.credit2.weight, request.u.credit2.cap);
    case CERO_DOMCTL_SCHEDOP_getinfo: request.u.credit2 = {domain.weight, domain.cap}; return {};
    default: return Errno::inval;
    }
}

Status init_hypercall_page(Domain& domain, const cero_domctl_hypercall_init& request) {
    const MachineFrame frame{request.gmfn};
    TRY(frame_get_writable(frame, domain.slot));
    fill_hypercall_page(arch::frame_ptr<unsigned char>(frame));
    frame_put_writable(frame);
    return {};
}

Status resume(Domain& domain) {
    if (domain.is_dying() || !domain.shutting_down.load(Order::relaxed)) return Errno::inval;
    sched::pause_and_wait(domain);
    {
        LockGuard guard{domain.lock};
        domain.shutting_down.store(false, Order::seq_cst);
        domain.shutdown_code = 0;
    }
    sched::unpause(domain);
    return {};
}

Status frame_types(Domain& domain, const cero_domctl_getpageframeinfo3& request) {
    constexpr std::uint64_t most = 1024;
    if (request.num > most) return Errno::too_big;
    const GuestSpan<std::uint64_t> span{GuestPtr<std::uint64_t>{request.array}, request.num};
    for (std::uint64_t n = 0; n < request.num; ++n) {
        const std::uint64_t number = TRY(span.read(n));
        const MachineFrame frame{number & 0x0fffffffffffffff};
        const FrameWord word = frame_look(frame);
        std::uint64_t type = CERO_DOMCTL_PFINFO_XTAB;
        if (word.is_owned_by(domain.slot)) {
            type = is_table(word.type()) && word.is(FrameWord::validated)
                       ? std::uint64_t{static_cast<std::uint8_t>(word.type())} << CERO_DOMCTL_PFINFO_LTAB_SHIFT
                       : CERO_DOMCTL_PFINFO_NOTAB;
            if (word.is(FrameWord::pinned)) type |= CERO_DOMCTL_PFINFO_LPINTAB;
        }
        TRY(span.write(n, type));
    }
    return {};
}

/// Whether the caller wants the structure back.
bool has_output(std::uint32_t command) noexcept {
    return command == CERO_DOMCTL_createdomain || command == CERO_DOMCTL_getdomaininfo ||
           command == CERO_DOMCTL_getvcpuinfo || command == CERO_DOMCTL_scheduler_op;
}

Status apply(Vcpu& current, cero_domctl& op) {
    if (op.cmd == CERO_DOMCTL_createdomain) return create(op);
    // getdomaininfo names the first domain of interest: that is how tools walk through them.
    const DomainRef found =
        op.cmd == CERO_DOMCTL_getdomaininfo ? next_domain(DomainId{op.domain}) : find_domain(DomainId{op.domain});
    if (!found) return Errno::srch;
    Domain& domain = *found;
    switch (op.cmd) {
    case CERO_DOMCTL_destroydomain: return destroy_domain(current, domain);
    case CERO_DOMCTL_pausedomain: return pause(domain);
    case CERO_DOMCTL_unpausedomain: return unpause(domain);
    case CERO_DOMCTL_getdomaininfo:
        describe_domain(domain, op.u.getdomaininfo);
        op.domain = domain.id.raw();
        return {};
    case CERO_DOMCTL_max_vcpus: return op.u.max_vcpus.max == domain.vcpu_limit ? create_vcpus(domain) : Errno::inval;
    case CERO_DOMCTL_setvcpucontext: return set_context(current, domain, op.u.vcpucontext);
    case CERO_DOMCTL_getvcpucontext: return get_context(current, domain, op.u.vcpucontext);
    case CERO_DOMCTL_getvcpuinfo: return vcpu_info(domain, op.u.getvcpuinfo);
    case CERO_DOMCTL_setvcpuaffinity:
    case CERO_DOMCTL_getvcpuaffinity: return affinity(domain, op.u.vcpuaffinity, op.cmd == CERO_DOMCTL_setvcpuaffinity);
    case CERO_DOMCTL_scheduler_op: return scheduler(domain, op.u.scheduler_op);
    case CERO_DOMCTL_hypercall_init: return init_hypercall_page(domain, op.u.hypercall_init);
    case CERO_DOMCTL_resumedomain: return resume(domain);
    case CERO_DOMCTL_getpageframeinfo3: return frame_types(domain, op.u.getpageframeinfo3);
    case CERO_DOMCTL_max_mem: domain.memory.max_pages.store(op.u.max_mem.max_memkb / 4, Order::relaxed); return {};
    case CERO_DOMCTL_setdomainhandle:
        __builtin_memcpy(domain.handle, op.u.setdomainhandle.handle, sizeof domain.handle);
        return {};
    default: return Errno::nosys;
    }
}

} // namespace

void describe_domain(Domain& domain, cero_domctl_getdomaininfo& info) {
    info = {};
    info.domain = domain.id.raw();
    bool all_blocked = true;
    domain.for_each_vcpu([&](Vcpu& vcpu) {
        info.max_vcpu_id = vcpu.id.raw();
        info.cpu_time += sched::cpu_time(vcpu).raw();
        if (vcpu.is_down()) return;
        ++info.nr_online_vcpus;
        all_blocked = all_blocked && vcpu.is_blocked();
        if (vcpu.is_running.load(Order::relaxed)) info.flags |= CERO_DOMINF_running;
    });
    if (all_blocked) info.flags |= CERO_DOMINF_blocked;
    if (domain.is_dying()) info.flags |= CERO_DOMINF_dying;
    if (domain.paused_by_controller) info.flags |= CERO_DOMINF_paused;
    if ((domain.create_flags & CERO_DOMCTL_CDF_xs_domain) != 0) info.flags |= CERO_DOMINF_xs_domain;
    if (domain.shutting_down.load(Order::acquire))
        info.flags |= CERO_DOMINF_shutdown | (domain.shutdown_code & CERO_DOMINF_shutdownmask)
                                                 << CERO_DOMINF_shutdownshift;
    info.tot_pages = domain.memory.total_pages.load(Order::relaxed);
    info.max_pages = domain.memory.max_pages.load(Order::relaxed);
    info.shared_info_frame = domain.shared_info_frame.raw();
    info.ssidref = domain.ssidref;
    for (unsigned n = 0; n < sizeof domain.handle; ++n) info.handle[n] = domain.handle[n];
    info.gpaddr_bits = 52;
}

Result<std::int64_t> domctl_op(Vcpu& current, std::uint64_t argument) {
    if (!current.domain->is_control) return Errno::perm;
    const GuestPtr<cero_domctl> at{argument};
    cero_domctl op = TRY(at.read());
    if (op.interface_version != CERO_DOMCTL_INTERFACE_VERSION) return Errno::acces;
    if (!control_lock.try_lock()) return hypercall_continue(current, argument);
    const Status done = apply(current, op);
    control_lock.unlock();
    if (done.error() == Errno::restart) return hypercall_continue(current, argument);
    if (done && has_output(op.cmd)) TRY(at.write(op));
    return -static_cast<std::int64_t>(done.error());
}

} // namespace cero
