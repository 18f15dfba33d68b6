// SPDX-License-Identifier: BSD-2-Clause
// Validation and teardown of page tables: the state machine behind FrameWord's table types.
//
//                     get: lock, validate                    all entries hold references
//   idle (type, 0) ------------------------> locked (type, 1) ---------------> validated (type, n)
//        ^  ^                                  |       ^   ^                            |
//        |  +----------- content refused ------+       |   +--- last put: lock, drain --+
//        |                        preemption point |   | get or drain: lock
//        +--------- drained ---------------------- v   |
//                                               partial (progress)
// Locks are bits in the words. They are taken downwards by level only (l4 first), so spinning on
// one cannot deadlock; whoever holds one never waits for a frame of the same or a higher level.
#include <core/paging/page_type.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/tlb.hpp>
#include <core/domain/domain.hpp>
#include <core/paging/pte_rules.hpp>

namespace cero {

namespace {

using Word = Atomic<std::uint64_t>;
constexpr std::uint64_t both_refs = FrameWord::one_ref + FrameWord::one_type_ref;

void spin() noexcept {
    arch::service_remote_requests();
    arch::relax();
}

/// Leaves the locked frame partial: its one type reference turns into the state's own.
void become_partial(Word& word, unsigned progress) noexcept {
    std::uint64_t seen = word.load(Order::relaxed);
    while (!word.compare_exchange(
        seen, FrameWord{seen}.without(FrameWord::locked).with(FrameWord::partial).with_type_field(progress).raw(),
        Order::release)) {
    }
}

/// Leaves the locked frame idle, dropping the reference that the type came with.
void become_idle(MachineFrame frame) noexcept {
    const std::uint64_t amount = FrameWord::locked + both_refs;
    if (frame_drop(frame, amount)) detail::free_frame(frame);
}

/// The slow part of l1_entry_get: I/O frames, and the reason for a refusal.
[[gnu::noinline]] Status l1_entry_get_io(PageContext& context, MachineFrame frame) noexcept {
    if (frame_look(frame).owner() != slot_io) return Errno::inval;
    if (context.frames != context.tables.slot && context.frames != slot_io) return Errno::inval;
    const Domain& domain = context.tables;
    const bool allowed = arch::frame_is_guest_io(frame) &&
                         (domain.is_control || domain.rights.io_memory.contains(frame.raw(), frame.raw()));
    return allowed ? Status{} : Status{Errno::perm};
}

/// One direction of the walk over a level-2, 3 or 4 table: what an entry's frame needs.
Status upper_entry_get(PageContext& context, Pte entry, FrameType level) noexcept {
    if ((entry.raw() & upper_forbidden) != 0) return Errno::inval;
    return page_type_get(context, entry.frame(), one_below(level));
}

/// First present entry in [n, end), or end. Tables are mostly empty: four at a time.
[[gnu::noinline]] unsigned next_present(const TableEntries& entries, unsigned n, unsigned end) noexcept {
    const auto at = [&](unsigned i) { return entries[i].load(Order::relaxed); };
    while (n + 4 <= end && ((at(n) | at(n + 1) | at(n + 2) | at(n + 3)) & Pte::present) == 0) n += 4;
    while (n < end && (at(n) & Pte::present) == 0) ++n;
    return n;
}
/// One past the last present entry below `n`, or 0.
[[gnu::noinline]] unsigned last_present(const TableEntries& entries, unsigned n) noexcept {
    const auto at = [&](unsigned i) { return entries[i].load(Order::relaxed); };
    while (n >= 4 && ((at(n - 1) | at(n - 2) | at(n - 3) | at(n - 4)) & Pte::present) == 0) n -= 4;
    while (n > 0 && (at(n - 1) & Pte::present) == 0) --n;
    return n;
}

[[gnu::noinline]] void drain_l1(PageContext& context, MachineFrame frame, unsigned progress) noexcept {
    TableEntries& entries = table_entries(frame);
    const std::uint64_t owner = context.tables_slot.raw(), limit = context.keys.limit;
    const Atomic<std::uint64_t>* const end = entries + progress;
    for (const Atomic<std::uint64_t>* at = entries; at < end; ++at) {
        const Pte entry{at->load(Order::relaxed)};
        if (!entry.is_present()) {
            at = entries + next_present(entries, static_cast<unsigned>(at - entries), progress) - 1;
            continue;
        }
        const Dropped dropped = l1_entry_drop(entry, owner, limit);
        if (dropped != Dropped::yes) [[unlikely]]
            detail::l1_entry_put_rest(context, entry, dropped == Dropped::last);
    }
}

Status put_table(PageContext& context, MachineFrame frame) noexcept;
Status drain_locked(PageContext& context, MachineFrame frame, FrameType level, unsigned progress) noexcept;

/// Brings a partial table of the level down, if the frame is one still.
Status drain_if_partial(PageContext& context, MachineFrame frame, FrameType level) noexcept {
    Word& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is(FrameWord::partial) || now.type() != level || !now.is_owned_by(context.tables.slot)) return {};
        const FrameWord next = now.without(FrameWord::partial).with(FrameWord::locked).with_type_field(1);
        if (word.compare_exchange(seen, next.raw(), Order::acquire))
            return drain_locked(context, frame, level, now.progress());
    }
}

/// Gives back what entries [0, progress) of a locked, no longer validated table hold, from the end;
/// then leaves it idle. restart: left partial instead.
Status drain_locked(PageContext& context, MachineFrame frame, FrameType level, unsigned progress) noexcept {
    if (level == FrameType::l1) {
        drain_l1(context, frame, progress);
        become_idle(frame);
        return {};
    }
    TableEntries& entries = table_entries(frame);
    if (progress < entries_per_table && !(level == FrameType::l4 && is_hypervisor_slot(progress))) {
        // A child that a stopped teardown or validation left partial at this entry.
        const Pte entry{entries[progress].load(Order::relaxed)};
        if (entry.is_present() && frame_exists(entry.frame()) &&
            !drain_if_partial(context, entry.frame(), one_below(level))) {
            become_partial(frame_word(frame), progress);
            return Errno::restart;
        }
    }
    while ((progress = last_present(entries, progress)) > 0) {
        if (level == FrameType::l4 && is_hypervisor_slot(progress - 1)) {
            progress = first_hypervisor_slot;
            continue;
        }
        const Pte entry{entries[--progress].load(Order::relaxed)};
        const Status status = put_table(context, entry.frame());
        if (!status || (progress > 0 && arch::preemption_point())) {
            become_partial(frame_word(frame), progress);
            return Errno::restart;
        }
    }
    become_idle(frame);
    return {};
}

/// Drops a type reference of a table. restart: it was the last, and the table was left partial.
Status put_table(PageContext& context, MachineFrame frame) noexcept {
    Word& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (now.type_refs() > 1) {
            if (word.compare_exchange(seen, now.minus(both_refs).raw(), Order::release)) return {};
            continue;
        }
        if (now.is(FrameWord::locked)) {
            spin();
            seen = word.load(Order::relaxed);
            continue;
        }
        const FrameWord next = now.without(FrameWord::validated).with(FrameWord::locked);
        if (word.compare_exchange(seen, next.raw(), Order::acq_rel))
            return drain_locked(context, frame, now.type(), entries_per_table);
    }
}

/// Level 1: not preemptible (512 entries). Yields the number of entries done; 512 is success.
[[gnu::noinline]] unsigned validate_l1(PageContext& context, MachineFrame frame, Errno& error) noexcept {
    TableEntries& entries = table_entries(frame);
    const EntryKeys keys = context.keys;
    const std::uint64_t kept = context.tables.l1_kept;
    Atomic<std::uint64_t>* const end = entries + entries_per_table;
    for (Atomic<std::uint64_t>* at = entries; at < end; ++at) {
        const Pte entry{at->load(Order::relaxed)};
        if (!entry.is_present()) {
            at = entries + next_present(entries, static_cast<unsigned>(at - entries), entries_per_table) - 1;
            continue;
        }
        const Pte adjusted = adjust_l1(entry, kept);
        if (!l1_entry_take(adjusted, keys)) [[unlikely]] {
            error = detail::l1_entry_get_slow(context, adjusted).error();
            if (error != Errno::ok) return static_cast<unsigned>(at - entries);
        }
        if (adjusted != entry) at->store(adjusted.raw(), Order::relaxed);
    }
    return entries_per_table;
}

/// Levels 2 to 4, from `progress` on. Yields the first entry that is not done; `error` says why.
unsigned validate_upper(PageContext& context, MachineFrame frame, FrameType level, unsigned progress,
                        Errno& error) noexcept {
    TableEntries& entries = table_entries(frame);
    for (unsigned n = progress; (n = next_present(entries, n, entries_per_table)) < entries_per_table; ++n) {
        if (level == FrameType::l4 && is_hypervisor_slot(n)) {
            n = first_hypervisor_slot + hypervisor_slot_count - 1;
            continue;
        }
        const Pte entry{entries[n].load(Order::relaxed)};
        if (const Status status = upper_entry_get(context, entry, level); !status) {
            error = status.error();
            return n;
        }
        if (const Pte adjusted = adjust_upper(entry, level); adjusted != entry)
            entries[n].store(adjusted.raw(), Order::relaxed);
        if (n + 1 < entries_per_table && arch::preemption_point()) {
            error = Errno::restart;
            return n + 1;
        }
    }
    if (level == FrameType::l4)
        for (unsigned n = 0; n < hypervisor_slot_count; ++n)
            entries[first_hypervisor_slot + n].store(arch::hypervisor_slots()[n], Order::relaxed);
    return entries_per_table;
}

/// Validates a locked frame from `progress` on, and settles its state.
Status validate_locked(PageContext& context, MachineFrame frame, FrameType level, unsigned progress) noexcept {
    Word& word = frame_word(frame);
    Errno error = Errno::ok;
    const unsigned done = level == FrameType::l1 ? validate_l1(context, frame, error)
                                                 : validate_upper(context, frame, level, progress, error);
    if (error == Errno::ok) [[likely]] {
        word.fetch_add(FrameWord::validated - FrameWord::locked, Order::release);
        return {};
    }
    if (error == Errno::restart) {
        become_partial(word, done);
        return Errno::restart;
    }
    // What was taken goes back before the refusal is told; a long way back may be left to finish_page_work(). When a
    // child is left over already, it is the one at `done`, and goes with this table.
    Vcpu& current = context.current;
    if (current.unfinished_table != invalid_frame)
        become_partial(word, done);
    else if (drain_locked(context, frame, level, done))
        return error;
    current.unfinished_table = frame;
    return error;
}

/// What to do about a frame that is not yet a validated table of the type.
struct Claim {
    FrameWord next;
    unsigned progress;
    bool flush;
};
Result<Claim> claim_for(FrameWord now, FrameType type) noexcept {
    if (now.type() == type && now.is(FrameWord::partial))
        return Claim{now.without(FrameWord::partial).with(FrameWord::locked).with_type_field(1), now.progress(), false};
    if (now.type_refs() != 0 || now.is(FrameWord::locked)) return Errno::busy;
    return Claim{now.with_type(type).without(FrameWord::validated).with(FrameWord::locked).plus(both_refs), 0,
                 now.type() == FrameType::writable};
}

} // namespace

void PageContext::flush(Domain& domain) noexcept {
    const CpuMask cpus = domain.dirty_mask();
    if (cpus.empty()) return;
    if (cpus == CpuMask::of(arch::this_cpu_id()))
        local_flush_ = true;
    else
        arch::tlb_flush(cpus);
}

void PageContext::flush_local() noexcept {
    local_flush_ = false;
    arch::tlb_flush_local();
}

namespace detail {

Status l1_entry_get_slow(PageContext& context, Pte entry) noexcept {
    const MachineFrame frame = entry.frame();
    const Status status =
        entry.is_writable() ? frame_get_writable(frame, context.frames) : frame_get(frame, context.frames);
    if (status || status.error() != Errno::inval) return status.error();
    return l1_entry_get_io(context, frame);
}

void l1_entry_put_rest(PageContext& context, Pte entry, bool was_last) noexcept {
    const MachineFrame frame = entry.frame();
    if (was_last) return free_frame(frame);
    if (frame_look(frame).owner() == slot_io) return;
    // A foreign frame: its owner's flush on freeing will not reach our TLBs.
    context.flush_tables_domain();
    if (frame_drop(frame, entry.references())) free_frame(frame);
}

} // namespace detail

Status page_type_get(PageContext& context, MachineFrame frame, FrameType type) noexcept {
    if (!frame_exists(frame)) return Errno::inval;
    Word& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is_owned_by(context.tables.slot) || !now.is(FrameWord::allocated)) return Errno::inval;
        if (now.type() == type && now.is(FrameWord::validated)) {
            if (now.is_full()) return Errno::nomem;
            if (word.compare_exchange(seen, now.plus(both_refs).raw(), Order::acquire)) return {};
            continue;
        }
        if (now.type() == type && now.is(FrameWord::locked)) {
            spin();
            seen = word.load(Order::relaxed);
            continue;
        }
        if (now.type() != type && now.is(FrameWord::partial)) {
            // Left over from a table that its guest abandoned. Its children may be locked by our caller, and its level
            // may be a higher one: finish_page_work() brings it down when no lock is held.
            if (context.current.unfinished_table == invalid_frame) context.current.unfinished_table = frame;
            return Errno::restart;
        }
        if (now.is_full()) return Errno::nomem;
        const Claim claim = TRY(claim_for(now, type));
        if (!word.compare_exchange(seen, claim.next.raw(), Order::acq_rel)) continue;
        if (claim.flush) context.flush_tables_domain();
        return validate_locked(context, frame, type, claim.progress);
    }
}

void page_type_put(PageContext& context, MachineFrame frame) noexcept {
    if (!put_table(context, frame)) context.current.unfinished_table = frame;
}

Status drain_partial(PageContext& context, MachineFrame frame) noexcept {
    return drain_if_partial(context, frame, frame_look(frame).type());
}

Status detail::finish_page_work_slow(Vcpu& current) noexcept {
    Domain* owner = domain_in_slot(frame_look(current.unfinished_table).owner());
    if (owner != nullptr) {
        PageContext context{current, *owner, owner->slot};
        TRY(drain_partial(context, current.unfinished_table));
    }
    current.unfinished_table = invalid_frame;
    return {};
}

Result<FrameType> detail::lock_table_slow(MachineFrame frame, DomainSlot owner) noexcept {
    if (!frame_exists(frame)) return Errno::inval;
    Word& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is_owned_by(owner) || !is_table(now.type())) return Errno::inval;
        if (now.is(FrameWord::locked)) {
            spin();
            seen = word.load(Order::relaxed);
            continue;
        }
        if (!now.is(FrameWord::validated)) return Errno::inval;
        if (word.compare_exchange(seen, now.with(FrameWord::locked).raw(), Order::acquire)) return now.type();
    }
}

} // namespace cero
