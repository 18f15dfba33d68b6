// SPDX-License-Identifier: BSD-2-Clause
// Typed references on frames: taking the first one of a page-table or descriptor type validates the
// content, dropping the last one gives back what the entries hold.
//
// A *partial* table is one whose validation or teardown stopped half-way: entries [0, progress)
// hold their references, nobody holds a type reference, and the state itself holds one general
// reference. Because nobody owns it, anybody may carry on in either direction: upwards to use it,
// downwards to be rid of it.
#pragma once

#include <core/domain/domain.hpp>
#include <core/frame/frame_table.hpp>
#include <core/paging/pte.hpp>

namespace cero {

/// What the word of an ordinary frame of an owner looks like, for entries of either kind; with the
/// address below which frames have words. Loops keep a copy of it in registers.
struct EntryKeys {
    static constexpr std::uint64_t writable_mask = (~0ull << FrameWord::type_shift) | FrameWord::full_mask;
    static constexpr std::uint64_t readable_mask = (~0ull << FrameWord::allocated_shift) | FrameWord::full_mask;

    explicit EntryKeys(DomainSlot owner) noexcept
        : writable{FrameWord::writable_key(owner) << FrameWord::type_shift},
          readable{FrameWord::readable_key(owner) << FrameWord::allocated_shift}, limit{frame_limit << page_shift} {}
    std::uint64_t writable, readable, limit;
};

/// What a page-table operation acts for, and what it owes before the guest runs or sees its
/// results.
class PageContext {
public:
    PageContext(Vcpu& current_vcpu, Domain& tables_of, DomainSlot frames_of) noexcept
        : current{current_vcpu}, tables{tables_of}, tables_slot{tables_of.slot}, frames{frames_of}, keys{frames_of} {}
    PageContext(const PageContext&) = delete;
    PageContext& operator=(const PageContext&) = delete;
    ~PageContext() { settle(); }

    Vcpu& current;
    Domain& tables; ///< owner of the page tables
    DomainSlot tables_slot;
    DomainSlot frames; ///< owner of the frames that new entries may name (slot_io: I/O only)
    EntryKeys keys;    ///< of `frames`

    /// Before references are dropped that a TLB may still use: flushes the tables' domain. A flush
    /// that concerns this CPU alone waits until settle(), since no guest code runs before.
    void flush_tables_domain() noexcept { flush(tables); }
    void flush(Domain& domain) noexcept;
    /// Executes a waiting flush. Required before anything is copied from or to the guest: until then the CPU may
    /// translate the guest's addresses by tables that are not any more.
    void settle() noexcept {
        if (local_flush_) [[unlikely]]
            flush_local();
    }

private:
    void flush_local() noexcept;
    bool local_flush_{};
};

/// Takes a reference and a reference of a table type, validating the frame if it is not yet in that
/// use. `context.tables` must own it. inval: not the domain's, or bad content; busy: in use as
/// something else; nomem: a count is full; restart: stopped at a preemption point, call again.
Status page_type_get(PageContext& context, MachineFrame frame, FrameType type) noexcept;

/// Drops both. What the last reference of a table still holds may be left for later when a
/// preemption point stops it: the vCPU remembers it and finish_page_work() completes it. The vCPU remembers one: so
/// finish_page_work() comes before the next one is dropped.
void page_type_put(PageContext& context, MachineFrame frame) noexcept;

namespace detail {
[[gnu::noinline, gnu::cold]] Status finish_page_work_slow(Vcpu& current) noexcept;
[[gnu::noinline]] Result<FrameType> lock_table_slow(MachineFrame frame, DomainSlot owner) noexcept;
[[gnu::noinline, gnu::cold]] Status l1_entry_get_slow(PageContext& context, Pte entry) noexcept;
[[gnu::noinline]] void l1_entry_put_rest(PageContext& context, Pte entry, bool was_last) noexcept;
} // namespace detail

/// Completes a teardown that was stopped. Each operation on page tables starts with it.
/// restart: stopped again.
inline Status finish_page_work(Vcpu& current) noexcept {
    if (current.unfinished_table == invalid_frame) [[likely]]
        return {};
    return detail::finish_page_work_slow(current);
}
/// Brings a partial table down to nothing. restart: stopped. No-op when it is not partial.
Status drain_partial(PageContext& context, MachineFrame frame) noexcept;

/// Takes what a present, adjusted level-1 entry needs with one exchange; false: not that simple.
/// (Two branches with constants are shorter than one with a variable amount.)
[[gnu::always_inline]] inline bool l1_entry_take(Pte entry, const EntryKeys& keys) noexcept {
    const std::uint64_t address = entry.raw() & Pte::frame_mask;
    if (address >= keys.limit) [[unlikely]]
        return false;
    Atomic<std::uint64_t>& word = frame_word(MachineFrame{address >> page_shift});
    std::uint64_t seen = word.load(Order::relaxed);
    if (entry.is_writable())
        return (seen & EntryKeys::writable_mask) == keys.writable &&
               word.compare_exchange(seen, seen + FrameWord::one_ref + FrameWord::one_type_ref, Order::acquire);
    return (seen & EntryKeys::readable_mask) == keys.readable &&
           word.compare_exchange(seen, seen + FrameWord::one_ref, Order::acquire);
}
/// The references behind a present, adjusted level-1 entry.
[[gnu::always_inline]] inline Status l1_entry_get(PageContext& context, Pte entry) noexcept {
    if (l1_entry_take(entry, context.keys)) [[likely]]
        return {};
    return detail::l1_entry_get_slow(context, entry);
}
/// Drops them again, and tells what is left to do. not_simple: nothing has been done.
enum class Dropped : std::uint8_t { yes, last, not_simple };
[[gnu::always_inline]] inline Dropped l1_entry_drop(Pte entry, std::uint64_t owner, std::uint64_t limit) noexcept {
    const std::uint64_t address = entry.raw() & Pte::frame_mask;
    if (address >= limit) [[unlikely]]
        return Dropped::not_simple;
    Atomic<std::uint64_t>& word = frame_word(MachineFrame{address >> page_shift});
    if (word.load(Order::relaxed) >> FrameWord::owner_shift != owner) [[unlikely]]
        return Dropped::not_simple;
    const std::uint64_t before = entry.is_writable()
                                     ? word.fetch_sub(FrameWord::one_ref + FrameWord::one_type_ref, Order::acq_rel)
                                     : word.fetch_sub(FrameWord::one_ref, Order::acq_rel);
    return (before & FrameWord::refs_mask) == FrameWord::one_ref ? Dropped::last : Dropped::yes;
}
[[gnu::always_inline]] inline void l1_entry_put(PageContext& context, Pte entry) noexcept {
    const Dropped dropped = l1_entry_drop(entry, context.tables_slot.raw(), context.keys.limit);
    if (dropped != Dropped::yes) [[unlikely]]
        detail::l1_entry_put_rest(context, entry, dropped == Dropped::last);
}

/// Locks a validated page table of the domain; the level is its type. inval: it is none.
inline Result<FrameType> lock_table(MachineFrame frame, DomainSlot owner) noexcept {
    if (frame_exists(frame)) [[likely]] {
        Atomic<std::uint64_t>& word = frame_word(frame);
        std::uint64_t seen = word.load(Order::relaxed);
        // A live level-1 table by one comparison: nearly every update is about one.
        constexpr std::uint64_t mask =
            ~0ull << FrameWord::owner_shift | FrameWord::type_mask | FrameWord::validated | FrameWord::locked;
        if ((seen & mask) ==
            (FrameWord::owner_bits(owner) | FrameWord::type_bits(FrameType::l1) | FrameWord::validated)) [[likely]]
            if (word.compare_exchange(seen, seen | FrameWord::locked, Order::acquire)) [[likely]]
                return FrameType::l1;
    }
    return detail::lock_table_slow(frame, owner);
}
inline void unlock_table(MachineFrame frame) noexcept {
    frame_word(frame).fetch_sub(FrameWord::locked, Order::release);
}

using TableEntries = Atomic<std::uint64_t>[entries_per_table];
inline TableEntries& table_entries(MachineFrame frame) noexcept { return *arch::frame_ptr<TableEntries>(frame); }

} // namespace cero
