// SPDX-License-Identifier: BSD-2-Clause
// Validate, reserve, commit for one page-table entry.
#include <core/paging/table_update.hpp>

#include <core/domain/domain.hpp>
#include <core/paging/pte_rules.hpp>

namespace cero {

namespace {

/// Stores `next`; the processor may be setting A and D bits at the same time. Yields what was
/// there.
Pte store_entry(Atomic<std::uint64_t>& slot, Pte next, AccessBits bits) noexcept {
    if (bits == AccessBits::replace) return Pte{slot.exchange(next.raw(), Order::acq_rel)};
    std::uint64_t seen = slot.load(Order::relaxed);
    while (!slot.compare_exchange(seen, next.raw() | (seen & (Pte::accessed | Pte::dirty)), Order::acq_rel)) {
    }
    return Pte{seen};
}

Status replace_upper(PageContext& context, FrameType level, Atomic<std::uint64_t>& slot, Pte value,
                     AccessBits bits) noexcept {
    const Pte now{slot.load(Order::relaxed)};
    const bool same_frame = value.is_present() && now.is_present() && now.frame() == value.frame();
    if (value.is_present()) {
        if ((value.raw() & upper_forbidden) != 0) return Errno::inval;
        if (!same_frame) TRY(page_type_get(context, value.frame(), one_below(level)));
        value = adjust_upper(value, level);
    }
    const Pte before = store_entry(slot, value, bits);
    if (!before.is_present()) return {};
    // Paging-structure caches may hold the old entry: it must be gone before the table behind it
    // can become ordinary memory.
    context.flush_tables_domain();
    if (!same_frame) page_type_put(context, before.frame());
    return {};
}

} // namespace

Status replace_entry(PageContext& context, const LockedTable& table, unsigned index, Pte value,
                     AccessBits bits) noexcept {
    Atomic<std::uint64_t>& slot = table.entry(index);
    if (table.level() == FrameType::l1)
        return replace_l1(context, slot.load(Order::relaxed), value,
                          [&](Pte next) { return Result<Pte>{store_entry(slot, next, bits)}; });
    if (table.level() == FrameType::l4 && is_hypervisor_slot(index)) return Errno::inval;
    return replace_upper(context, table.level(), slot, value, bits);
}

} // namespace cero
