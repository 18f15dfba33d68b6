// SPDX-License-Identifier: BSD-2-Clause
// Replacing one entry of a page table that is in use, with the references that go with it.
#pragma once

#include <core/paging/page_type.hpp>
#include <core/paging/pte_rules.hpp>

namespace cero {

/// A page table held locked while entries of it are replaced; released by the destructor.
class LockedTable {
public:
    LockedTable() noexcept = default;
    LockedTable(const LockedTable&) = delete;
    LockedTable& operator=(const LockedTable&) = delete;
    ~LockedTable() { release(); }

    /// Moves the lock to `frame` unless it is there already. inval: not a table in use of the
    /// domain.
    Status hold(MachineFrame frame, DomainSlot owner) noexcept {
        if (frame == frame_) return {};
        release();
        level_ = TRY(lock_table(frame, owner));
        frame_ = frame;
        return {};
    }
    void release() noexcept {
        if (frame_ == invalid_frame) return;
        unlock_table(frame_);
        frame_ = invalid_frame;
    }
    [[nodiscard]] FrameType level() const noexcept { return level_; }
    [[nodiscard]] Atomic<std::uint64_t>& entry(unsigned index) const noexcept { return table_entries(frame_)[index]; }

private:
    MachineFrame frame_{invalid_frame};
    FrameType level_{FrameType::none};
};

/// What becomes of the accessed and dirty bits that the entry has at the moment of the exchange.
enum class AccessBits : bool { replace, keep };

/// Replaces entry `index` of a locked table. On any error the entry and all counts are as they
/// were. inval, perm, busy, nomem: the new value is refused; restart: call again. After success
/// `context.current.unfinished_table` may be set: the caller should stop and finish first.
Status replace_entry(PageContext& context, const LockedTable& table, unsigned index, Pte value,
                     AccessBits bits) noexcept;

/// For an entry that keeps its frame, and so the reference, and changes its right to write alone: takes the type
/// reference if it will need one. False: not an ordinary frame of the tables' own domain, nothing has been done.
[[gnu::always_inline]] inline bool l1_right_take(const PageContext& context, Pte value) noexcept {
    const std::uint64_t address = value.raw() & Pte::frame_mask;
    if (context.frames != context.tables_slot || address >= context.keys.limit) [[unlikely]]
        return false;
    Atomic<std::uint64_t>& word = frame_word(MachineFrame{address >> page_shift});
    std::uint64_t seen = word.load(Order::relaxed);
    return (seen & EntryKeys::writable_mask) == context.keys.writable &&
           (!value.is_writable() || word.compare_exchange(seen, seen + FrameWord::one_type_ref, Order::acquire));
}

/// Replaces a level-1 entry with `exchange(value) -> Result<Pte before>`.
template <typename Exchange>
[[gnu::always_inline]] inline Status replace_l1(PageContext& context, std::uint64_t now, Pte value,
                                                Exchange&& exchange) noexcept {
    std::uint64_t changes = l1_structure;
    if (value.is_present()) {
        value = adjust_l1(value, context.tables.l1_kept);
        changes &= now ^ value.raw();
        if (changes == Pte::write && l1_right_take(context, value)) [[likely]] {
            const auto before = exchange(value);
            // The right is gone, or did not come: so goes the type reference.
            if (value.is_writable() != before.has_value())
                frame_word(value.frame()).fetch_sub(FrameWord::one_type_ref, Order::release);
            return before ? Status{} : Status{before.error()};
        }
    }
    const bool takes = value.is_present() && changes != 0;
    if (takes)
        if (Status taken = l1_entry_get(context, value); !taken) [[unlikely]]
            return taken;
    auto before = exchange(value);
    if (!before) [[unlikely]] {
        if (takes) l1_entry_put(context, value);
        return before.error();
    }
    // With the same frame and rights as before, what the old entry held is the new one's.
    if ((takes || !value.is_present()) && before->is_present()) l1_entry_put(context, *before);
    return {};
}

/// The common case by itself: a level-1 entry, whatever it was before. The processor may be setting
/// A and D at the same time; nothing else in the entry can change while the table is locked.
[[gnu::always_inline]] inline Status replace_entry(PageContext& context, const LockedTable& table, unsigned index,
                                                   Pte value) noexcept {
    if (table.level() != FrameType::l1) [[unlikely]]
        return replace_entry(context, table, index, value, AccessBits::replace);
    Atomic<std::uint64_t>& slot = table.entry(index);
    return replace_l1(context, slot.load(Order::relaxed), value,
                      [&](Pte next) { return Result<Pte>{Pte{slot.exchange(next.raw(), Order::acq_rel)}}; });
}

} // namespace cero
