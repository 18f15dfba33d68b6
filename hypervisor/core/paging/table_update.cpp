// SPDX-License-Identifier: BSD-2-Clause
// Validate, reserve, commit for one page-table entry.
#include <core/paging/table_update.hpp>

#include <core/domain/domain.hpp>
#include <core/paging/pte_rules.hpp>

namespace cero {

namespace {

/// Stores `next`; the processor may be setting A and D bits at the same time. Yields what was
/// there, or again when that was not the expected value.
Result<Pte> store_entry(Atomic<std::uint64_t>& slot, Pte next, OldEntry old) noexcept {
    if (old.expected == nullptr && !old.preserve_accessed_dirty)
        return Pte{slot.exchange(next.raw(), Order::acq_rel)};
    std::uint64_t seen = old.expected != nullptr ? *old.expected : slot.load(Order::relaxed);
    for (;;) {
        std::uint64_t value = next.raw();
        if (old.preserve_accessed_dirty)
            value |= seen & (Pte::accessed | Pte::dirty);
        if (slot.compare_exchange(seen, value, Order::acq_rel))
            return Pte{seen};
        if (old.expected != nullptr)
            return Errno::again;
    }
}

Status replace_l1(PageContext& context, Atomic<std::uint64_t>& slot, Pte value,
                  OldEntry old) noexcept {
    if (!value.is_present()) {
        const Pte before = TRY(store_entry(slot, value, old));
        if (before.is_present())
            l1_entry_put(context, before);
        return {};
    }
    const Pte next = adjust_l1(value);
    const Pte now{slot.load(Order::relaxed)};
    if (((now.raw() ^ next.raw()) & l1_structure) == 0) {
        TRY(store_entry(slot, next, old));
        return {};
    }
    TRY(l1_entry_get(context, next));
    auto before = store_entry(slot, next, old);
    if (!before) {
        l1_entry_put(context, next);
        return before.error();
    }
    if (before->is_present())
        l1_entry_put(context, *before);
    return {};
}

Status replace_upper(PageContext& context, FrameType level, Atomic<std::uint64_t>& slot, Pte value,
                     OldEntry old) noexcept {
    const Pte now{slot.load(Order::relaxed)};
    const bool same_frame = value.is_present() && now.is_present() && now.frame() == value.frame();
    if (value.is_present()) {
        if ((value.raw() & upper_forbidden) != 0)
            return Errno::inval;
        if (!same_frame)
            TRY(page_type_get(context, value.frame(), one_below(level)));
        value = adjust_upper(value, level);
    }
    auto before = store_entry(slot, value, old);
    if (!before) {
        if (value.is_present() && !same_frame)
            page_type_put(context, value.frame());
        return before.error();
    }
    if (!before->is_present())
        return {};
    // Paging-structure caches may hold the old entry: it must be gone before the table behind it
    // can become ordinary memory.
    context.flush_tables_domain();
    if (!same_frame)
        page_type_put(context, before->frame());
    return {};
}

} // namespace

Status replace_entry(PageContext& context, const LockedTable& table, unsigned index, Pte value,
                     OldEntry old) noexcept {
    Atomic<std::uint64_t>& slot = table.entry(index);
    if (table.level() == FrameType::l1) [[likely]]
        return replace_l1(context, slot, value, old);
    if (table.level() == FrameType::l4 && is_hypervisor_slot(index))
        return Errno::inval;
    return replace_upper(context, table.level(), slot, value, old);
}

} // namespace cero
