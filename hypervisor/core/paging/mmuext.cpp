// SPDX-License-Identifier: BSD-2-Clause
// Hypercall mmuext_op: pinning, base pointers, flushes, the LDT; and the roots of vCPUs.
#include <core/paging/mmu_ops.hpp>

#include <arch/api/context.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/tlb.hpp>
#include <arch/api/uaccess.hpp>
#include <core/paging/descriptors.hpp>
#include <core/paging/page_owner.hpp>
#include <core/paging/progress.hpp>

#include <cero/abi/mmu.h>

namespace cero {

namespace {

Status pin(PageContext& context, MachineFrame frame, FrameType level) noexcept {
    if (frame_look(frame).is(FrameWord::pinned) && frame_look(frame).is_owned_by(context.tables.slot))
        return Errno::inval;
    TRY(page_type_get(context, frame, level));
    const std::uint64_t before = frame_word(frame).fetch_or(FrameWord::pinned, Order::acq_rel);
    if ((before & FrameWord::pinned) == 0) [[likely]]
        return {};
    page_type_put(context, frame);
    return Errno::inval;
}

Status unpin(PageContext& context, MachineFrame frame) noexcept {
    if (!frame_exists(frame)) return Errno::inval;
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    do {
        const FrameWord now{seen};
        if (!now.is_owned_by(context.tables.slot) || !now.is(FrameWord::pinned)) return Errno::inval;
    } while (!word.compare_exchange(seen, seen & ~FrameWord::pinned, Order::acq_rel));
    page_type_put(context, frame);
    return {};
}

/// Lazily mapped LDT pages depend on the address space and on the LDT's place in it.
void drop_ldt_pages(Vcpu& vcpu) noexcept {
    for (std::uint32_t mapped = vcpu.arch.ldt_mapped; mapped != 0; mapped &= mapped - 1)
        put_descriptor_frame(vcpu.arch.ldt_frames[__builtin_ctz(mapped)]);
    vcpu.arch.ldt_mapped = 0;
}
[[gnu::noinline, gnu::cold]] void reload_ldt(Vcpu& vcpu) noexcept {
    drop_ldt_pages(vcpu);
    arch::load_ldt(vcpu);
}

Status new_kernel_root(PageContext& context, MachineFrame root) noexcept {
    Vcpu& vcpu = context.current;
    const MachineFrame old = vcpu.kernel_root;
    if (root != old) {
        TRY(page_type_get(context, root, FrameType::l4));
        vcpu.kernel_root = root;
        vcpu.arch.kernel_cr3 = to_phys(root).raw();
    }
    if (vcpu.arch.ldt_mapped != 0) reload_ldt(vcpu);
    arch::load_page_tables(vcpu);
    if (root != old) page_type_put(context, old);
    return {};
}

/// `next` may be invalid_frame: user mode has no tables then.
Status new_user_root(PageContext& context, Vcpu& vcpu, MachineFrame next) noexcept {
    const MachineFrame old = vcpu.user_root;
    if (next == old) return {};
    if (next != invalid_frame) TRY(page_type_get(context, next, FrameType::l4));
    vcpu.user_root = next;
    vcpu.arch.user_cr3 = next == invalid_frame ? 0 : to_phys(next).raw();
    if (old != invalid_frame) page_type_put(context, old);
    return {};
}

Status set_ldt(Vcpu& vcpu, std::uint64_t base, std::uint32_t entries) noexcept {
    if ((base & (page_size - 1)) != 0 || entries > 8192) return Errno::inval;
    if (vcpu.arch.ldt_base == base && vcpu.arch.ldt_entries == entries && vcpu.arch.ldt_mapped == 0) return {};
    drop_ldt_pages(vcpu);
    vcpu.arch.ldt_base = base;
    vcpu.arch.ldt_entries = entries;
    arch::load_ldt(vcpu);
    return {};
}

Status flush(PageContext& context, const cero_mmuext_op& operation) noexcept {
    Domain& domain = *context.current.domain;
    const GuestVirt address{operation.arg1.linear_addr};
    switch (operation.cmd) {
    case CERO_MMUEXT_TLB_FLUSH_ALL: arch::tlb_flush(domain.dirty_mask()); return {};
    case CERO_MMUEXT_INVLPG_ALL: arch::tlb_flush_page(domain.dirty_mask(), address); return {};
    default: break;
    }
    const CpuMask cpus = TRY(cpus_of_vcpus(domain, operation.arg2.vcpumask));
    if (operation.cmd == CERO_MMUEXT_TLB_FLUSH_MULTI)
        arch::tlb_flush(cpus);
    else
        arch::tlb_flush_page(cpus, address);
    return {};
}

/// CLEAR_PAGE and COPY_PAGE: on frames that can be written as ordinary memory.
Status fill_page(PageContext& context, const cero_mmuext_op& operation) noexcept {
    const MachineFrame target{operation.arg1.mfn};
    const MachineFrame source{operation.arg2.src_mfn};
    const bool copy = operation.cmd == CERO_MMUEXT_COPY_PAGE;
    if (copy) TRY(frame_get(source, context.frames));
    const Status writable = frame_look(target).type() == FrameType::shared ? Status{Errno::inval}
                                                                           : frame_get_writable(target, context.frames);
    if (writable) {
        if (copy)
            arch::copy_page(arch::direct_map(target), arch::direct_map(source));
        else
            arch::clear_page(arch::direct_map(target));
        frame_put_writable(target);
    }
    if (copy) frame_put(source);
    return writable ? Status{} : Status{writable.error()};
}

/// What acts on vCPUs, or on the processors they run on: for the caller's own domain alone.
constexpr bool is_about_vcpus(std::uint32_t command) noexcept {
    constexpr std::uint32_t commands =
        1u << CERO_MMUEXT_NEW_BASEPTR | 1u << CERO_MMUEXT_NEW_USER_BASEPTR | 1u << CERO_MMUEXT_SET_LDT |
        1u << CERO_MMUEXT_FLUSH_CACHE | 1u << CERO_MMUEXT_FLUSH_CACHE_GLOBAL | 1u << CERO_MMUEXT_TLB_FLUSH_MULTI |
        1u << CERO_MMUEXT_INVLPG_MULTI | 1u << CERO_MMUEXT_TLB_FLUSH_ALL | 1u << CERO_MMUEXT_INVLPG_ALL;
    return command < 32 && (commands >> command & 1) != 0;
}

[[gnu::always_inline]] inline Status apply(PageContext& context, const cero_mmuext_op& operation) noexcept {
    if (&context.tables != context.current.domain && is_about_vcpus(operation.cmd)) [[unlikely]]
        return Errno::perm;
    const MachineFrame frame{operation.arg1.mfn};
    switch (operation.cmd) {
    case CERO_MMUEXT_TLB_FLUSH_LOCAL: arch::tlb_flush_local(); return {};
    case CERO_MMUEXT_INVLPG_LOCAL: arch::tlb_flush_local_page(GuestVirt{operation.arg1.linear_addr}); return {};
    case CERO_MMUEXT_PIN_L1_TABLE:
    case CERO_MMUEXT_PIN_L2_TABLE:
    case CERO_MMUEXT_PIN_L3_TABLE:
    case CERO_MMUEXT_PIN_L4_TABLE:
        return pin(context, frame, static_cast<FrameType>(operation.cmd - CERO_MMUEXT_PIN_L1_TABLE + 1));
    case CERO_MMUEXT_UNPIN_TABLE: return unpin(context, frame);
    case CERO_MMUEXT_NEW_BASEPTR: return new_kernel_root(context, frame);
    case CERO_MMUEXT_NEW_USER_BASEPTR:
        return new_user_root(context, context.current, frame.raw() == 0 ? invalid_frame : frame);
    case CERO_MMUEXT_SET_LDT: return set_ldt(context.current, operation.arg1.linear_addr, operation.arg2.nr_ents);
    case CERO_MMUEXT_FLUSH_CACHE:
    case CERO_MMUEXT_FLUSH_CACHE_GLOBAL:
        if (!context.current.domain->is_control) return Errno::inval;
        arch::flush_caches();
        return {};
    case CERO_MMUEXT_TLB_FLUSH_MULTI:
    case CERO_MMUEXT_INVLPG_MULTI:
    case CERO_MMUEXT_TLB_FLUSH_ALL:
    case CERO_MMUEXT_INVLPG_ALL: return flush(context, operation);
    case CERO_MMUEXT_CLEAR_PAGE:
    case CERO_MMUEXT_COPY_PAGE: return fill_page(context, operation);
    case CERO_MMUEXT_MARK_SUPER:
    case CERO_MMUEXT_UNMARK_SUPER: return Errno::opnotsupp;
    default: return Errno::nosys;
    }
}

Status apply_all(PageContext& context, std::uint64_t operations, std::uint64_t count, std::uint64_t& done) noexcept {
    while (done < count) {
        context.settle();
        cero_mmuext_op operation;
        const GuestVirt source{operations + done * sizeof operation};
        if (!arch::copy_from_guest(&operation, source, sizeof operation)) [[unlikely]]
            return Errno::fault;
        TRY(apply(context, operation));
        ++done;
        if (context.current.unfinished_table != invalid_frame) return Errno::restart;
        if (done < count && arch::preemption_point()) return Errno::restart;
    }
    return {};
}

[[gnu::noinline]] Status operate_many(Vcpu& current, std::uint64_t operations, std::uint64_t count, std::uint64_t done,
                                      std::uint64_t domain) noexcept {
    Progress progress{current, done, count};
    TRY(progress.begin());
    std::uint64_t n = 0;
    Status status = finish_page_work(current);
    if (status) {
        PageOwners owners{current};
        TRY(owners.resolve(domain & 0xffff));
        PageContext context{current, owners.subject(), owners.frames()};
        status = apply_all(context, operations, progress.count(), n);
    }
    return progress.end(status.error(), n, operations + n * sizeof(cero_mmuext_op), domain);
}

} // namespace

Status mmuext_op(Vcpu& current, std::uint64_t operations, std::uint64_t count, std::uint64_t done,
                 std::uint64_t domain) noexcept {
    if (count == 1 && done == 0 && domain == CERO_DOMID_SELF) [[likely]]
        return execute_one<cero_mmuext_op>(
            current, operations,
            [](PageContext& context, const cero_mmuext_op& operation) { return apply(context, operation); });
    return operate_many(current, operations, count, done, domain);
}

Status set_vcpu_roots(Vcpu& current, Vcpu& target, MachineFrame kernel, MachineFrame user) noexcept {
    TRY(finish_page_work(current));
    PageContext context{current, *target.domain, target.domain->slot};
    if (kernel != target.kernel_root) {
        TRY(page_type_get(context, kernel, FrameType::l4));
        const MachineFrame old = target.kernel_root;
        target.kernel_root = kernel;
        target.arch.kernel_cr3 = to_phys(kernel).raw();
        if (old != invalid_frame) page_type_put(context, old);
    }
    TRY(finish_page_work(current));
    return new_user_root(context, target, user);
}

Status drop_vcpu_roots(Vcpu& current, Vcpu& target) noexcept {
    PageContext context{current, *target.domain, target.domain->slot};
    for (MachineFrame* root : {&target.user_root, &target.kernel_root}) {
        TRY(finish_page_work(current));
        if (*root == invalid_frame) continue;
        const MachineFrame old = *root;
        *root = invalid_frame;
        page_type_put(context, old);
    }
    target.arch.kernel_cr3 = target.arch.user_cr3 = 0;
    drop_ldt_pages(target);
    return {};
}

namespace core {

Status new_base_pointer(Vcpu& vcpu, MachineFrame root) noexcept {
    TRY(finish_page_work(vcpu));
    PageContext context{vcpu, *vcpu.domain, vcpu.domain->slot};
    return new_kernel_root(context, root);
}

} // namespace core
} // namespace cero
