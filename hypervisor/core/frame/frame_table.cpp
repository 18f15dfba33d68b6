// SPDX-License-Identifier: BSD-2-Clause
// The slow paths of the frame table: allocation to domains, freeing, sharing, boot.
#include <core/frame/frame_table.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/tlb.hpp>
#include <core/domain/domain.hpp>
#include <core/frame/frame_allocator.hpp>

#include <cero/abi/hypercall.h>

namespace cero {

#ifdef CERO_HOST_TEST
Atomic<std::uint64_t>* host_frame_table;
#endif
std::uint64_t frame_limit;

namespace {

/// Bookkeeping of frames that now name the domain as owner. The first one keeps the domain alive.
void note_owned(Domain& domain, std::uint64_t count) noexcept {
    if (domain.memory.owned_pages.fetch_add(count, Order::acq_rel) == 0) DomainRef::acquire(domain);
}
void note_disowned(Domain& domain, std::uint64_t count) noexcept {
    if (domain.memory.owned_pages.fetch_sub(count, Order::acq_rel) == count) DomainRef::release(domain);
}

/// Reserves `count` frames of the domain's limit.
bool charge(Domain& domain, std::uint64_t count) noexcept {
    MemoryAccount& memory = domain.memory;
    const std::uint64_t before = memory.total_pages.fetch_add(count, Order::relaxed);
    if (before + count <= memory.max_pages.load(Order::relaxed) && lets_go(domain)) [[likely]]
        return true;
    memory.total_pages.fetch_sub(count, Order::relaxed);
    return false;
}

void fill_words(std::uint64_t first, std::uint64_t end, FrameWord word) noexcept {
    for (std::uint64_t n = first; n < end; ++n) frame_word(MachineFrame{n}).store(word.raw(), Order::relaxed);
}

void hand_over(Domain& domain, MachineFrame first, std::uint64_t count) noexcept {
    note_owned(domain, count);
    const std::uint64_t word = FrameWord::owned_by(domain.slot).raw();
    for (std::uint64_t n = 0; n < count; ++n) frame_word(first + n).store(word, Order::release);
}

} // namespace

namespace detail {

void free_frame(MachineFrame frame) noexcept {
    const FrameWord word = frame_look(frame);
    Domain* owner = domain_in_slot(word.owner());
    if (owner == nullptr) {
        allocator_give(frame, 0);
        return;
    }
    FreeBatch batch{*owner};
    batch.add(frame);
}

Status get_writable_slow(MachineFrame frame, DomainSlot owner, std::uint64_t amount) noexcept {
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is_owned_by(owner) || !now.may_be_referenced()) return Errno::inval;
        if (now.is_full()) return Errno::nomem;
        FrameWord next = now.plus(amount);
        if (now.type() != FrameType::writable && now.type() != FrameType::shared) {
            if (now.is(FrameWord::partial | FrameWord::locked) || now.type_refs() != 0) return Errno::busy;
            next = next.with_type(FrameType::writable).without(FrameWord::validated);
        }
        if (word.compare_exchange(seen, next.raw(), Order::acquire)) return {};
    }
}

} // namespace detail

void FreeBatch::flush() noexcept {
    if (count_ == 0) return;
    // A stale translation may be left in the TLBs of the owner; those of other domains are flushed
    // when their mapping goes.
    if (const CpuMask cpus = owner_.dirty_mask(); !cpus.empty()) arch::tlb_flush(cpus);
    for (unsigned n = 0; n < count_; ++n) allocator_give(frames_[n], 0);
    const unsigned count = count_;
    count_ = 0;
    note_disowned(owner_, count);
}

Status frame_seize(MachineFrame frame, Domain& owner) noexcept {
    if (!frame_exists(frame)) return Errno::inval;
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    do {
        const FrameWord now{seen};
        if (!now.is_owned_by(owner.slot) || !now.is(FrameWord::allocated)) return Errno::inval;
    } while (!word.compare_exchange(seen, seen & ~FrameWord::allocated, Order::acq_rel));
    return {};
}

void frame_restore_seized(MachineFrame frame) noexcept {
    frame_word(frame).fetch_or(FrameWord::allocated, Order::release);
}

void frame_release_seized(MachineFrame frame, Domain& owner, FreeBatch& batch) noexcept {
    arch::m2p_set(frame, CERO_INVALID_M2P_ENTRY);
    owner.memory.total_pages.fetch_sub(1, Order::relaxed);
    if (frame_drop(frame, FrameWord::one_ref)) batch.add(frame);
}

Status frame_release_allocation(MachineFrame frame, Domain& owner, FreeBatch& batch) noexcept {
    TRY(frame_seize(frame, owner));
    frame_release_seized(frame, owner, batch);
    return {};
}

bool frame_release_block(MachineFrame first, unsigned order, Domain& owner, FreeBatch& batch) noexcept {
    for (std::uint64_t n = 0; n < 1ull << order; ++n)
        if (!frame_release_allocation(first + n, owner, batch)) return false;
    return true;
}

bool lets_go(const Domain& domain) noexcept {
    constexpr std::uint64_t most = 1024; // shared ones, and those that others use for a moment longer
    const MemoryAccount& memory = domain.memory;
    return memory.owned_pages.load(Order::relaxed) <= memory.total_pages.load(Order::relaxed) + most;
}

Result<MachineFrame> share_frame_with(Domain& domain) noexcept {
    const FrameBlock block = TRY(allocator_take(0, 0, true));
    note_owned(domain, 1);
    arch::m2p_set(block.first, CERO_INVALID_M2P_ENTRY);
    const FrameWord word = FrameWord{FrameWord::owner_bits(domain.slot)}
                               .with_type(FrameType::shared)
                               .plus(FrameWord::one_ref + FrameWord::one_type_ref);
    frame_word(block.first).store(word.raw(), Order::release);
    return block.first;
}

Result<MachineFrame> allocate_hypervisor_frames(unsigned order) noexcept {
    const FrameBlock block = TRY(allocator_take(order, 0, true));
    for (std::uint64_t n = 0; n < 1ull << order; ++n)
        frame_word(block.first + n).store(FrameWord::owner_bits(slot_hypervisor), Order::release);
    return block.first;
}

void free_hypervisor_frames(MachineFrame first, unsigned order) noexcept { allocator_give(first, order); }

Result<MachineFrame> allocate_frames(Domain& domain, unsigned order, AllocateFlags flags) noexcept {
    const std::uint64_t count = 1ull << order;
    if (order > max_order || domain.is_dying() || !charge(domain, count)) return Errno::nomem;
    auto block = allocator_take(order, flags.address_bits, flags.zero);
    if (!block) {
        domain.memory.total_pages.fetch_sub(count, Order::relaxed);
        return block.error();
    }
    hand_over(domain, block->first, count);
    // Destruction began meanwhile? Then its scan may have passed these frames by. (The addition of 0 is a full
    // barrier.)
    domain.memory.owned_pages.fetch_add(0, Order::seq_cst);
    if (!domain.is_dying()) [[likely]]
        return block->first;
    FreeBatch batch{domain};
    static_cast<void>(frame_release_block(block->first, order, domain, batch));
    return Errno::nomem;
}

void adopt_frames(Domain& domain, MachineFrame first, std::uint64_t count) noexcept {
    domain.memory.total_pages.fetch_add(count, Order::relaxed);
    hand_over(domain, first, count);
}

void frame_init() noexcept {
    frame_limit = arch::max_frame().raw();
    // Everything is I/O until the memory map calls it RAM; RAM is the hypervisor's until it is
    // free.
    std::uint64_t done = 0;
    for (const arch::MemoryRange& range : arch::memory_map()) {
        if (range.type != arch::MemoryType::ram) continue;
        const std::uint64_t start = (range.base + page_size - 1) >> page_shift;
        const std::uint64_t first = start < arch::low_frames ? arch::low_frames : start;
        const std::uint64_t end = (range.base + range.size) >> page_shift;
        if (first < done || end <= first || end > frame_limit) continue;
        fill_words(done, first, FrameWord{FrameWord::owner_bits(slot_io)});
        fill_words(first, end, FrameWord{FrameWord::owner_bits(slot_hypervisor)});
        done = end;
    }
    fill_words(done, frame_limit, FrameWord{FrameWord::owner_bits(slot_io)});
    arch::for_each_free_range(allocator_add);
}

} // namespace cero
