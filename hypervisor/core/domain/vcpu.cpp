// SPDX-License-Identifier: BSD-2-Clause
// vCPUs: creation, contexts, the vcpu_info page.
#include <core/domain/domain.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/hooks.hpp>
#include <core/event/event.hpp>
#include <core/paging/descriptors.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/sched/scheduler.hpp>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

/// vcpu_info of those that have none yet: nobody reads it.
cero_vcpu_info no_vcpu_info;
constinit Domain idle_domain;

void on_singleshot(Timer& timer) { event::raise_virq(*static_cast<Vcpu*>(timer.owner), CERO_VIRQ_TIMER); }

void on_periodic(Timer& timer) {
    Vcpu& vcpu = *static_cast<Vcpu*>(timer.owner);
    event::raise_virq(vcpu, CERO_VIRQ_TIMER);
    const std::uint64_t period = __atomic_load_n(&vcpu.period_ns, __ATOMIC_RELAXED);
    if (period == 0) return;
    // Missed periods are not made up for.
    const std::uint64_t now = arch::system_time().raw();
    const std::uint64_t next = timer.deadline().raw() + period;
    set_timer(timer, Nanoseconds{next > now ? next : now + period});
}

void on_poll_timeout(Timer& timer) { sched::unblock(*static_cast<Vcpu*>(timer.owner)); }

/// A vCPU in its reset state, which the domain does not know yet.
Result<Vcpu*> make_vcpu(Domain& domain, std::uint32_t id) {
    auto* vcpu = ::new (TRY(allocate_object(sizeof(Vcpu)))) Vcpu;
    vcpu->domain = &domain;
    vcpu->id = VcpuId{id};
    arch::vcpu_init(*vcpu);
    vcpu->arch.info = &no_vcpu_info;
    return vcpu;
}

Status create_vcpu(Domain& domain, std::uint32_t id) {
    Vcpu* vcpu = TRY(make_vcpu(domain, id));
    vcpu->singleshot.bind(&on_singleshot, vcpu);
    vcpu->periodic.bind(&on_periodic, vcpu);
    vcpu->poll_timer.bind(&on_poll_timeout, vcpu);
    if (id < CERO_LEGACY_MAX_VCPUS) {
        vcpu->arch.info = &domain.shared_info->vcpu_info[id];
        publish_time(*vcpu);
    }
    sched::insert(*vcpu);
    __atomic_store_n(&domain.vcpus[id], vcpu, __ATOMIC_RELEASE);
    return {};
}

constexpr std::uint64_t gdt_pages(std::uint64_t entries) noexcept { return (entries + 511) / 512; }

void drop_gdt(Vcpu& vcpu) {
    for (std::uint64_t n = 0; n < gdt_pages(vcpu.arch.gdt_entries); ++n) put_descriptor_frame(vcpu.arch.gdt_frames[n]);
    vcpu.arch.gdt_entries = 0;
}

void drop_ldt(Vcpu& vcpu) {
    for (unsigned n = 0; n < arch::ldt_pages; ++n)
        if ((vcpu.arch.ldt_mapped >> n & 1) != 0) put_descriptor_frame(vcpu.arch.ldt_frames[n]);
    vcpu.arch.ldt_mapped = 0;
    vcpu.arch.ldt_entries = 0;
}

/// References on the GDT pages of a context; those taken are dropped when one is refused.
Status take_gdt(Domain& domain, const cero_vcpu_guest_context& context) {
    if (context.gdt_ents > CERO_FIRST_RESERVED_GDT_ENTRY) return Errno::inval; // before gdt_pages() can overflow
    for (std::uint64_t n = 0; n < gdt_pages(context.gdt_ents); ++n) {
        const Status taken = get_descriptor_frame(domain, MachineFrame{context.gdt_frames[n]});
        if (taken) continue;
        while (n-- > 0) put_descriptor_frame(MachineFrame{context.gdt_frames[n]});
        return taken.error();
    }
    return {};
}

} // namespace

Status create_vcpus(Domain& domain) {
    for (std::uint32_t id = 0; id < domain.vcpu_limit; ++id)
        if (domain.vcpus[id] == nullptr) TRY(create_vcpu(domain, id));
    return {};
}

void core::start_cpu() noexcept {
    arch::PerCpu& area = arch::this_cpu();
    idle_domain.id = domid_idle;
    idle_domain.slot = slot_hypervisor;
    auto idle = make_vcpu(idle_domain, area.id);
    if (!idle) arch::panic("no memory for the idle vCPU of CPU %u", area.id);
    (*idle)->is_idle = true;
    area.idle = area.current = *idle;
    sched::prepare_cpu(CpuId{area.id}, **idle);
}

Status drop_context(Vcpu& current, Vcpu& target) {
    drop_gdt(target);
    drop_ldt(target);
    TRY(drop_vcpu_roots(current, target));
    if (target.info_frame == invalid_frame) return {};
    const MachineFrame frame = target.info_frame;
    target.info_frame = invalid_frame;
    __atomic_store_n(&target.arch.info, &no_vcpu_info, __ATOMIC_RELEASE);
    frame_put_writable(frame);
    return {};
}

Status install_context(Vcpu& current, Vcpu& target, const cero_vcpu_guest_context& context) {
    Domain& domain = *target.domain;
    const MachineFrame kernel{context.ctrlreg[3] >> page_shift};
    const MachineFrame user = context.ctrlreg[1] == 0 ? invalid_frame : MachineFrame{context.ctrlreg[1] >> page_shift};
    if (!arch::is_acceptable(target, context)) return Errno::inval;
    TRY(take_gdt(domain, context));
    if (const Status set = set_vcpu_roots(current, target, kernel, user); !set) { // perhaps preempted
        for (std::uint64_t n = 0; n < gdt_pages(context.gdt_ents); ++n)
            put_descriptor_frame(MachineFrame{context.gdt_frames[n]});
        return set.error();
    }
    arch::set_guest_context(target, context);
    drop_gdt(target);
    drop_ldt(target);
    target.arch.gdt_entries = static_cast<std::uint32_t>(context.gdt_ents);
    for (std::uint64_t n = 0; n < gdt_pages(context.gdt_ents); ++n)
        target.arch.gdt_frames[n] = MachineFrame{context.gdt_frames[n]};
    target.arch.ldt_base = context.ldt_base;
    target.arch.ldt_entries = static_cast<std::uint32_t>(context.ldt_ents & 0x1fff);
    target.flags.fetch_or(vcpu_flag::initialised, Order::release);
    return {};
}

} // namespace cero
