// SPDX-License-Identifier: BSD-2-Clause
// Hypercalls mmu_update and update_va_mapping, and the emulated store to a live level-1 table.
#include <core/paging/mmu_ops.hpp>

#include <arch/api/hooks.hpp>
#include <arch/api/tlb.hpp>
#include <core/hypercall/hypercall.hpp>
#include <core/paging/page_owner.hpp>
#include <core/paging/progress.hpp>
#include <core/paging/table_update.hpp>

#include <cero/abi/mmu.h>

namespace cero {

namespace {

constexpr unsigned chunk = 32; ///< requests copied in at a time

constexpr unsigned index_of(std::uint64_t machine_address) noexcept {
    return (machine_address >> 3) & (entries_per_table - 1);
}

/// A store to a page that is no page table: plain memory of the domain.
Status store_plain(Domain& owner, MachineFrame frame, unsigned index, std::uint64_t value) noexcept {
    if (frame_look(frame).type() == FrameType::shared) return Errno::inval;
    TRY(frame_get_writable(frame, owner.slot));
    table_entries(frame)[index].store(value, Order::relaxed);
    frame_put_writable(frame);
    return {};
}

Status update_m2p(DomainSlot owner, MachineFrame frame, std::uint64_t value) noexcept {
    const FrameWord word = frame_look(frame);
    if (!word.is_owned_by(owner) || !word.is(FrameWord::allocated)) return Errno::inval;
    arch::m2p_set(frame, value);
    return {};
}

[[gnu::always_inline]] inline Status apply(PageContext& context, LockedTable& table,
                                           const cero_mmu_update& request) noexcept {
    const unsigned command = request.ptr & 3;
    const std::uint64_t address = request.ptr & ~3ull;
    const MachineFrame frame = to_frame(PhysAddr{address});
    if (command == CERO_MMU_MACHPHYS_UPDATE) return update_m2p(context.frames, frame, request.val);
    if ((address & 7) != 0) return Errno::inval;
    const unsigned index = index_of(address);
    if (const Status held = table.hold(frame, context.tables.slot); !held)
        return store_plain(context.tables, frame, index, request.val);
    if (command == CERO_MMU_PT_UPDATE_PRESERVE_AD)
        return replace_entry(context, table, index, Pte{request.val}, AccessBits::keep);
    return replace_entry(context, table, index, Pte{request.val});
}

/// Executes requests until one fails, all are done, or it is time to stop; counts those done.
Status apply_all(PageContext& context, std::uint64_t updates, std::uint64_t count, std::uint64_t& done) noexcept {
    LockedTable table;
    cero_mmu_update requests[chunk];
    while (done < count) {
        context.settle();
        std::uint64_t have = count - done < chunk ? count - done : chunk;
        const GuestPtr<cero_mmu_update> source{updates + done * sizeof(cero_mmu_update)};
        if (have == 1 || !GuestSpan{source, have}.read_many(0, requests, have)) {
            have = 1; // perhaps only a later one lies on a page that is not there
            requests[0] = TRY(source.read());
        }
        for (std::uint64_t n = 0; n < have; ++n) {
            TRY(apply(context, table, requests[n]));
            ++done;
            if (context.current.unfinished_table != invalid_frame) return Errno::restart;
        }
        table.release();
        if (done < count && arch::preemption_point()) return Errno::restart;
    }
    return {};
}

/// The flush that update_va_mapping was asked for.
Status flush_requested(PageContext& context, GuestVirt address, std::uint64_t flags) noexcept {
    const std::uint64_t kind = flags & CERO_UVMF_FLUSHTYPE_MASK;
    const std::uint64_t scope = flags & ~CERO_UVMF_FLUSHTYPE_MASK;
    if (kind == CERO_UVMF_NONE) return {};
    if (kind != CERO_UVMF_TLB_FLUSH && kind != CERO_UVMF_INVLPG) return Errno::inval;
    Domain& domain = *context.current.domain;
    const bool all = kind == CERO_UVMF_TLB_FLUSH;
    if (scope == CERO_UVMF_LOCAL) {
        all ? arch::tlb_flush_local() : arch::tlb_flush_local_page(address);
        return {};
    }
    context.settle();
    const CpuMask cpus = scope == CERO_UVMF_ALL ? domain.dirty_mask() : TRY(cpus_of_vcpus(domain, scope));
    all ? arch::tlb_flush(cpus) : arch::tlb_flush_page(cpus, address);
    return {};
}

[[gnu::flatten]] Status update_mapping(Vcpu& current, GuestVirt address, Pte value, std::uint64_t flags,
                                       DomainSlot frames) noexcept {
    TRY(finish_or_continue(current));
    PageContext context{current, *current.domain, frames};
    const MappedEntry found = look_up(current.kernel_root, address);
    if (found.table == invalid_frame) return Errno::inval;
    {
        LockedTable table;
        TRY(table.hold(found.table, current.domain->slot));
        if (table.level() != FrameType::l1) return Errno::inval;
        TRY(replace_entry(context, table, found.index, value));
    }
    return flush_requested(context, address, flags);
}

} // namespace

MappedEntry look_up(MachineFrame root, GuestVirt address) noexcept {
    const std::uint64_t high = address.raw() >> 47;
    if ((high != 0 && high != 0x1ffff) || root == invalid_frame || is_hypervisor_slot(table_index(address, 4)))
        [[unlikely]]
        return {invalid_frame, 0, Pte{}};
    const std::uint64_t end = frame_limit << page_shift;
    const Atomic<std::uint64_t>* table = table_entries(root);
    Pte entry;
    // Three steps down, unrolled: this is on the path of every update by address.
#pragma GCC unroll 3
    for (unsigned level = 4; level > 1; --level) {
        entry = Pte{table[table_index(address, level)].load(Order::relaxed)};
        // Another vCPU may have taken the tree apart: what was read can be anything, a hole in memory among it.
        if (!entry.is_present() || (entry.raw() & Pte::frame_mask) >= end ||
            FrameWord{frame_word(entry.frame()).load(Order::relaxed)}.is_owned_by(slot_io)) [[unlikely]]
            return {invalid_frame, 0, Pte{}};
        table = table_entries(entry.frame());
    }
    const unsigned index = table_index(address, 1);
    return {entry.frame(), index, Pte{table[index].load(Order::relaxed)}};
}

Status PageOwners::find_foreign(std::uint16_t id, Domain*& found) noexcept {
    if (!self_.is_control) return Errno::perm;
    const DomainRef domain = find_domain(DomainId{id});
    if (!domain) return Errno::srch;
    DomainRef::acquire(*domain);
    found = domain.get();
    return {};
}

Status PageOwners::resolve_slow(std::uint64_t word) noexcept {
    const DomainId frames{static_cast<std::uint16_t>(word)};
    const auto tables = static_cast<std::uint16_t>(word >> 16);
    if (tables != 0 && tables != self_.id.raw() + 1u)
        TRY(find_foreign(static_cast<std::uint16_t>(tables - 1), tables_));
    if (frames == domid_xen && !self_.is_control) return Errno::perm;
    if (frames == domid_io || frames == domid_xen) {
        frames_slot_ = frames == domid_io ? slot_io : slot_hypervisor;
    } else if (frames != domid_self && frames != self_.id) {
        TRY(find_foreign(frames.raw(), frames_));
        frames_slot_ = frames_->slot;
    }
    return {};
}

Result<CpuMask> cpus_of_vcpus(Domain& domain, std::uint64_t bitmap) noexcept {
    std::uint64_t vcpus = 0;
    if (!arch::copy_from_guest(&vcpus, GuestVirt{bitmap}, (domain.vcpu_limit + 7) / 8)) return Errno::fault;
    CpuMask cpus;
    domain.for_each_vcpu([&](Vcpu& vcpu) {
        // Who is not on a CPU has no translations, and loads fresh ones when it gets there.
        if ((vcpus >> vcpu.id.raw() & 1) != 0 && vcpu.on_cpu.load(Order::seq_cst)) cpus.add(vcpu.last_cpu());
    });
    return cpus & domain.dirty_mask();
}

namespace {

[[gnu::noinline]] Status update_many(Vcpu& current, std::uint64_t updates, std::uint64_t count, std::uint64_t done,
                                     std::uint64_t domain) noexcept {
    Progress progress{current, done, count};
    TRY(progress.begin());
    Status status;
    std::uint64_t n = 0;
    if (status = finish_page_work(current); status) {
        PageOwners owners{current};
        TRY(owners.resolve(domain));
        PageContext context{current, owners.tables(), owners.frames()};
        status = apply_all(context, updates, progress.count(), n);
    }
    return progress.end(std::move(status), n, updates + n * sizeof(cero_mmu_update), domain);
}

} // namespace

Status Progress::end(Status status, std::uint64_t n, std::uint64_t next, std::uint64_t domain) noexcept {
    if (!done_.is_null()) TRY(done_.write(before_ + static_cast<std::uint32_t>(n)));
    if (status.error() == Errno::restart)
        return hypercall_continue(current_, next, (count() - n) | marker, done_.address().raw(), domain);
    return status;
}

Status mmu_update(Vcpu& current, std::uint64_t updates, std::uint64_t count, std::uint64_t done,
                  std::uint64_t domain) noexcept {
    if (count == 1 && done == 0 && domain == CERO_DOMID_SELF) [[likely]]
        return execute_one<cero_mmu_update>(current, updates, [](PageContext& context, const cero_mmu_update& request) {
            LockedTable table;
            return apply(context, table, request);
        });
    return update_many(current, updates, count, done, domain);
}

Status update_va_mapping(Vcpu& current, std::uint64_t address, std::uint64_t value, std::uint64_t flags) noexcept {
    return update_mapping(current, GuestVirt{address}, Pte{value}, flags, current.domain->slot);
}

Status update_va_mapping_otherdomain(Vcpu& current, std::uint64_t address, std::uint64_t value, std::uint64_t flags,
                                     std::uint64_t domain) noexcept {
    PageOwners owners{current};
    TRY(owners.resolve(domain & 0xffff));
    return update_mapping(current, GuestVirt{address}, Pte{value}, flags, owners.frames());
}

namespace core {

Status guest_pte_store(Vcpu& vcpu, GuestVirt address, std::uint64_t expected, std::uint64_t value) noexcept {
    const MappedEntry mapping = look_up(vcpu.kernel_root, address);
    if (!mapping.entry.is_present() || mapping.entry.is_writable()) return Errno::noent;
    TRY(finish_page_work(vcpu));
    PageContext context{vcpu, *vcpu.domain, vcpu.domain->slot};
    LockedTable table;
    if (!table.hold(mapping.entry.frame(), vcpu.domain->slot) || table.level() != FrameType::l1) return Errno::noent;
    Atomic<std::uint64_t>& slot = table.entry(index_of(address.raw()));
    return replace_l1(context, expected, Pte{value}, [&](Pte next) -> Result<Pte> {
        std::uint64_t seen = expected;
        if (!slot.compare_exchange(seen, next.raw(), Order::acq_rel)) [[unlikely]]
            return Errno::again;
        return Pte{expected};
    });
}

} // namespace core
} // namespace cero
