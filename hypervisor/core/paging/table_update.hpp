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
        if (frame == frame_)
            return {};
        release();
        level_ = TRY(lock_table(frame, owner));
        frame_ = frame;
        return {};
    }
    void release() noexcept {
        if (frame_ == invalid_frame)
            return;
        unlock_table(frame_);
        frame_ = invalid_frame;
    }
    [[nodiscard]] FrameType level() const noexcept { return level_; }
    [[nodiscard]] Atomic<std::uint64_t>& entry(unsigned index) const noexcept {
        return table_entries(frame_)[index];
    }

private:
    MachineFrame frame_{invalid_frame};
    FrameType level_{FrameType::none};
};

/// How the old value takes part in an update.
struct OldEntry {
    bool preserve_accessed_dirty{false};
    const std::uint64_t* expected{nullptr}; ///< store only over this value; else again
};

/// Replaces entry `index` of a locked table. On any error the entry and all counts are as they
/// were. inval, perm, busy, nomem: the new value is refused; restart: call again. After success
/// `context.current.unfinished_table` may be set: the caller should stop and finish first.
Status replace_entry(PageContext& context, const LockedTable& table, unsigned index, Pte value,
                     OldEntry old) noexcept;

/// The common case by itself: a level-1 entry, whatever it was before.
[[gnu::always_inline]] inline Status replace_entry(PageContext& context, const LockedTable& table,
                                                   unsigned index, Pte value) noexcept {
    if (table.level() != FrameType::l1) [[unlikely]]
        return replace_entry(context, table, index, value, OldEntry{});
    Atomic<std::uint64_t>& slot = table.entry(index);
    if (value.is_present()) {
        value = adjust_l1(value);
        const std::uint64_t now = slot.load(Order::relaxed);
        if (((now ^ value.raw()) & l1_structure) == 0) {
            slot.exchange(value.raw(), Order::acq_rel);
            return {};
        }
        if (Status taken = l1_entry_get(context, value); !taken) [[unlikely]]
            return taken;
    }
    // The processor may be setting A and D at the same time; nothing else in the entry can change.
    if (const Pte before{slot.exchange(value.raw(), Order::acq_rel)}; before.is_present())
        l1_entry_put(context, before);
    return {};
}

} // namespace cero
