// SPDX-License-Identifier: BSD-2-Clause
// Mapping granted frames into page tables, and taking them out.
#include <core/grant/grant_state.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/tlb.hpp>
#include <core/guest/guest_ptr.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/paging/pte_rules.hpp>
#include <core/paging/table_update.hpp>

namespace cero::grant {

namespace {

constexpr unsigned chunk = 32; ///< requests between TLB flushes and preemption points
constexpr std::uint16_t kept_flags = CERO_GNTMAP_device_map | CERO_GNTMAP_host_map | CERO_GNTMAP_readonly |
                                     CERO_GNTMAP_application_map | CERO_GNTMAP_contains_pte;

/// A level-1 entry that a request names, by virtual address or by the machine address of the entry.
struct EntryPlace {
    MachineFrame table{invalid_frame};
    unsigned index{};
};
[[gnu::always_inline]] inline EntryPlace find_place(Vcpu& current, std::uint64_t host_address,
                                                    bool contains_pte) noexcept {
    if (!contains_pte) {
        const MappedEntry mapped = look_up(current.kernel_root, GuestVirt{host_address});
        return {mapped.table, mapped.index};
    }
    if ((host_address & 7) != 0) return {};
    return {to_frame(PhysAddr{host_address}), static_cast<unsigned>(host_address >> 3) & (entries_per_table - 1)};
}

[[gnu::always_inline]] inline bool hold_l1(LockedTable& table, Vcpu& current, const EntryPlace& place) noexcept {
    return place.table != invalid_frame && table.hold(place.table, current.domain->slot) &&
           table.level() == FrameType::l1;
}

constexpr Pte entry_for(MachineFrame frame, std::uint32_t flags) noexcept {
    std::uint64_t bits = Pte::present | Pte::accessed | Pte::no_execute | Pte::user;
    if ((flags & CERO_GNTMAP_readonly) == 0) bits |= Pte::write | Pte::dirty;
    if ((flags & CERO_GNTMAP_application_map) == 0) bits |= guest_kernel;
    bits |= (std::uint64_t{flags >> CERO_GNTMAP_guest_avail_shift} << 9) & Pte::available;
    return Pte::of(frame, bits);
}

/// Puts `entry`, whose references are taken, in place of what is there.
Code install(PageContext& context, std::uint64_t host_address, bool contains_pte, Pte entry) noexcept {
    LockedTable table;
    const EntryPlace place = find_place(context.current, host_address, contains_pte);
    if (!hold_l1(table, context.current, place))
        return contains_pte ? CERO_GNTST_general_error : CERO_GNTST_bad_virt_addr;
    const Pte before{table.entry(place.index).exchange(entry.raw(), Order::acq_rel)};
    if (before.is_present()) l1_entry_put(context, before);
    return CERO_GNTST_okay;
}

Code map_one(PageContext& context, DomainCache& domains, cero_gnttab_map_grant_ref& op) noexcept {
    Domain& self = *context.current.domain;
    const auto flags = static_cast<std::uint16_t>(op.flags & kept_flags);
    if ((flags & (CERO_GNTMAP_host_map | CERO_GNTMAP_device_map)) == 0) return CERO_GNTST_bad_gntref;
    Domain* granter = domains.find(DomainId{op.dom});
    if (granter == nullptr) return CERO_GNTST_bad_domain;
    const std::uint32_t handle = take_handle(self);
    if (handle == no_handle) return CERO_GNTST_no_device_space;
    const bool host = (flags & CERO_GNTMAP_host_map) != 0;
    const Access access = (flags & CERO_GNTMAP_readonly) != 0 ? Access::read : Access::write;
    // One set of references for the record, one for the page-table entry: the guest may get rid of
    // the entry by other means.
    const Pinned pinned = pin(*granter, GrantRef{op.ref}, self, access, host ? 2 : 1);
    Code code = pinned.code;
    if (code == CERO_GNTST_okay && host) {
        code =
            install(context, op.host_addr, (flags & CERO_GNTMAP_contains_pte) != 0, entry_for(pinned.frame, op.flags));
        if (code != CERO_GNTST_okay) {
            put_frame(pinned.frame, access);
            unpin(*granter, GrantRef{op.ref}, access);
            put_frame(pinned.frame, access);
        }
    }
    if (code != CERO_GNTST_okay) {
        give_handle(self, handle);
        return code;
    }
    set_mapping(self, handle,
                Mapping{op.ref, static_cast<std::uint32_t>(pinned.frame.raw()), granter->slot.raw(), flags, 0});
    op.handle = handle;
    op.dev_bus_addr = to_phys(pinned.frame).raw();
    return CERO_GNTST_okay;
}

/// Takes the entry of a mapping out of the page tables, if it is still the one that was put there.
Code remove_entry(PageContext& context, const Mapping& mapping, std::uint64_t host_address, Pte replacement) noexcept {
    LockedTable table;
    const EntryPlace place = find_place(context.current, host_address, (mapping.flags & CERO_GNTMAP_contains_pte) != 0);
    if (!hold_l1(table, context.current, place)) return CERO_GNTST_general_error;
    Atomic<std::uint64_t>& slot = table.entry(place.index);
    const Pte now{slot.load(Order::relaxed)};
    if (!now.is_present() || now.frame().raw() != mapping.frame ||
        now.is_writable() != (mapping.access() == Access::write))
        return CERO_GNTST_general_error;
    slot.exchange(replacement.raw(), Order::acq_rel);
    put_frame(now.frame(), mapping.access());
    return CERO_GNTST_okay;
}

/// A mapping whose entry is gone from the tables; its pin and references go after the TLB flush, so
/// that the granter hears of it when nobody can reach the frame any more.
struct Finished {
    std::uint32_t handle;
    Mapping mapping;
};
struct FinishedBatch {
    unsigned count{};
    Finished items[chunk];

    void complete(Domain& domain) noexcept {
        if (count == 0) return;
        arch::tlb_flush(domain.dirty_mask());
        for (unsigned n = 0; n < count; ++n) {
            const Mapping& mapping = items[n].mapping;
            unpin(*domain_in_slot(DomainSlot{mapping.granter}), GrantRef{mapping.ref}, mapping.access());
            put_frame(MachineFrame{mapping.frame}, mapping.access());
            give_handle(domain, items[n].handle);
        }
        count = 0;
    }
};

Code unmap_one(PageContext& context, const cero_gnttab_unmap_grant_ref& op, FinishedBatch& finished) noexcept {
    Domain& self = *context.current.domain;
    Mapping mapping = claim_mapping(self, op.handle);
    if (mapping.flags == 0) return CERO_GNTST_bad_handle;
    Code code = CERO_GNTST_okay;
    std::uint16_t ended = 0;
    if (op.dev_bus_addr != 0 && (mapping.flags & CERO_GNTMAP_device_map) != 0) {
        if (op.dev_bus_addr >> page_shift != mapping.frame) code = CERO_GNTST_bad_dev_addr;
        ended |= CERO_GNTMAP_device_map;
    }
    if (code == CERO_GNTST_okay && op.host_addr != 0 && (mapping.flags & CERO_GNTMAP_host_map) != 0) {
        code = remove_entry(context, mapping, op.host_addr, Pte{});
        ended |= CERO_GNTMAP_host_map;
    }
    const std::uint16_t mapped = CERO_GNTMAP_host_map | CERO_GNTMAP_device_map;
    if (code == CERO_GNTST_okay) mapping.flags &= static_cast<std::uint16_t>(~ended);
    if ((mapping.flags & mapped) != 0)
        set_mapping(self, op.handle, mapping); // refused, or only one of two uses has ended
    else
        finished.items[finished.count++] = {op.handle, mapping};
    return code;
}

Code replace_one(PageContext& context, const cero_gnttab_unmap_and_replace& op, FinishedBatch& finished) noexcept {
    Domain& self = *context.current.domain;
    Mapping mapping = claim_mapping(self, op.handle);
    if (mapping.flags == 0) return CERO_GNTST_bad_handle;
    Pte moved{};
    Code code = (mapping.flags & CERO_GNTMAP_contains_pte) != 0 ? CERO_GNTST_general_error : CERO_GNTST_okay;
    EntryPlace source;
    if (code == CERO_GNTST_okay && op.new_addr != 0) {
        LockedTable table;
        source = find_place(context.current, op.new_addr, false);
        if (hold_l1(table, context.current, source))
            moved = Pte{table.entry(source.index).exchange(0, Order::acq_rel)};
        else
            code = CERO_GNTST_bad_virt_addr;
    }
    if (code == CERO_GNTST_okay) code = remove_entry(context, mapping, op.host_addr, moved);
    if (code == CERO_GNTST_okay) {
        finished.items[finished.count++] = {op.handle, mapping};
        return code;
    }
    set_mapping(self, op.handle, mapping);
    if (moved.raw() != 0) {
        // Back to where it was; should that table have gone meanwhile, its references go too.
        const Code back = install(context, op.new_addr, false, moved);
        if (back != CERO_GNTST_okay && moved.is_present()) l1_entry_put(context, moved);
    }
    return code;
}

/// Reads, executes and answers requests in order. `execute(op)` yields the status of one; what lies
/// behind `answer_from` in the request is written back.
template <typename Op, std::size_t answer_from, typename Execute, typename AfterChunk>
Status for_each_request(std::uint64_t array, std::uint64_t count, std::uint64_t& done, Execute&& execute,
                        AfterChunk&& after_chunk) noexcept {
    const GuestPtr<Op> first{array};
    while (done < count) {
        const std::uint64_t end = count - done < chunk ? count : done + chunk;
        bool readable = true;
        for (; done < end && readable; ++done) {
            Op op;
            const GuestVirt place = first.at(done).address();
            readable = arch::copy_from_guest(&op, place, sizeof op);
            if (!readable) break;
            op.status = execute(op);
            readable = arch::copy_to_guest(place + answer_from, reinterpret_cast<const char*>(&op) + answer_from,
                                           sizeof op - answer_from);
        }
        after_chunk();
        if (!readable) return Errno::fault;
        if (done < count && arch::preemption_point()) return Errno::restart;
    }
    return {};
}

} // namespace

Status map(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept {
    PageContext context{current, *current.domain, current.domain->slot};
    DomainCache domains;
    return for_each_request<cero_gnttab_map_grant_ref, offsetof(cero_gnttab_map_grant_ref, dom)>(
        array, count, done,
        [&](auto& op) {
            const Code code = map_one(context, domains, op);
            context.settle(); // before the answer goes through the guest's mappings
            return code;
        },
        [] {});
}

Status unmap(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept {
    PageContext context{current, *current.domain, current.domain->slot};
    FinishedBatch finished;
    return for_each_request<cero_gnttab_unmap_grant_ref, offsetof(cero_gnttab_unmap_grant_ref, handle)>(
        array, count, done, [&](auto& op) { return unmap_one(context, op, finished); },
        [&] { finished.complete(*current.domain); });
}

Status unmap_and_replace(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept {
    PageContext context{current, *current.domain, current.domain->slot};
    FinishedBatch finished;
    return for_each_request<cero_gnttab_unmap_and_replace, offsetof(cero_gnttab_unmap_and_replace, handle)>(
        array, count, done, [&](auto& op) { return replace_one(context, op, finished); },
        [&] { finished.complete(*current.domain); });
}

} // namespace cero::grant
