// SPDX-License-Identifier: BSD-2-Clause
// Typed references on frames: taking the first one of a page-table or descriptor type validates the
// content, dropping the last one gives back what the entries hold.
//
// A *partial* table is one whose validation or teardown stopped half-way: entries [0, progress)
// hold their references, nobody holds a type reference, and the state itself holds one general
// reference. Because nobody owns it, anybody may carry on in either direction: upwards to use it,
// downwards to be rid of it.
#pragma once

#include <core/frame/frame_table.hpp>
#include <core/paging/pte.hpp>

namespace cero {

/// What a page-table operation acts for, and what it owes before the guest runs or sees its
/// results.
class PageContext {
public:
    PageContext(Vcpu& current_vcpu, Domain& tables_of, DomainSlot frames_of) noexcept;
    PageContext(const PageContext&) = delete;
    PageContext& operator=(const PageContext&) = delete;
    ~PageContext() { settle(); }

    Vcpu& current;
    Domain& tables;    ///< owner of the page tables
    DomainSlot frames; ///< owner of the frames that new entries may name (slot_io: I/O only)

    /// Before references are dropped that a TLB may still use: flushes the tables' domain. A flush
    /// that concerns this CPU alone waits until settle(), since no guest code runs before.
    void flush_tables_domain() noexcept { flush(tables); }
    void flush(Domain& domain) noexcept;
    /// Executes a waiting flush. Required before anything is copied to the guest.
    void settle() noexcept;

private:
    bool local_flush_{};
};

/// Takes a reference and a reference of a table type, validating the frame if it is not yet in that
/// use. `context.tables` must own it. inval: not the domain's, or bad content; busy: in use as
/// something else; nomem: a count is full; restart: stopped at a preemption point, call again.
Status page_type_get(PageContext& context, MachineFrame frame, FrameType type) noexcept;

/// Drops both. What the last reference of a table still holds may be left for later when a
/// preemption point stops it: the vCPU remembers it and finish_page_work() completes it.
void page_type_put(PageContext& context, MachineFrame frame) noexcept;

/// Completes a teardown that was stopped. Each operation on page tables starts with it.
/// restart: stopped again.
Status finish_page_work(Vcpu& current) noexcept;
/// Brings a partial table down to nothing. restart: stopped. No-op when it is not partial.
Status drain_partial(PageContext& context, MachineFrame frame) noexcept;

/// References behind a present, adjusted level-1 entry.
Status l1_entry_get(PageContext& context, Pte entry) noexcept;
void l1_entry_put(PageContext& context, Pte entry) noexcept;

/// Locks a validated page table of the domain; the level is its type. inval: it is none.
Result<FrameType> lock_table(MachineFrame frame, DomainSlot owner) noexcept;
void unlock_table(MachineFrame frame) noexcept;

using TableEntries = Atomic<std::uint64_t>[entries_per_table];
inline TableEntries& table_entries(MachineFrame frame) noexcept {
    return *arch::frame_ptr<TableEntries>(frame);
}

} // namespace cero
