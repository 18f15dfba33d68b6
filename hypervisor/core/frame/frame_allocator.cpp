// SPDX-License-Identifier: BSD-2-Clause
// The buddy allocator. A free block is described by the word of its first frame:
//
//  63      54 53   50 49 48      47     24 23      0
// +----------+-------+--+-------+---------+---------+
// | slot_free| order |  | clean |  next   |  prev   |   links: frame numbers, no_frame = end
// +----------+-------+--+-------+---------+---------+
// The other frames of a block carry order 15. Blocks join only with buddies of the same
// cleanliness.
#include <core/frame/frame_allocator.hpp>

#include <core/frame/frame_table.hpp>
#include <core/lock.hpp>

namespace cero {

namespace {

constexpr unsigned order_shift = 50;
constexpr std::uint64_t clean_bit = 1ull << 48;
constexpr std::uint64_t link_mask = (1ull << 24) - 1;
constexpr std::uint64_t no_frame = link_mask;
constexpr unsigned body_order = 15;
constexpr std::uint64_t body_word = FrameWord::owner_bits(slot_free) | (std::uint64_t{body_order} << order_shift);
constexpr unsigned scrub_order = 4;              ///< pages zeroed in one go when idle
constexpr std::uint64_t low_frames = 1ull << 20; ///< below 4 GiB: kept for devices
constexpr unsigned zones = 2, kinds = 2;         ///< low, high; dirty, clean

struct Lists {
    Spinlock<LockRank::frame> lock;
    std::uint64_t head[zones][kinds][max_order + 1];
    std::uint64_t free{};
    std::uint64_t dirty{};
    constexpr Lists() noexcept : head{} {
        for (auto& zone : head)
            for (auto& kind : zone)
                for (auto& first : kind) first = no_frame;
    }
};
constinit Lists lists;

std::uint64_t word_at(std::uint64_t frame) noexcept { return frame_word(MachineFrame{frame}).load(Order::relaxed); }
void set_word(std::uint64_t frame, std::uint64_t word) noexcept {
    frame_word(MachineFrame{frame}).store(word, Order::relaxed);
}
constexpr std::uint64_t prev_of(std::uint64_t word) noexcept { return word & link_mask; }
constexpr std::uint64_t next_of(std::uint64_t word) noexcept { return (word >> 24) & link_mask; }
constexpr std::uint64_t with_prev(std::uint64_t word, std::uint64_t prev) noexcept {
    return (word & ~link_mask) | prev;
}
constexpr std::uint64_t with_next(std::uint64_t word, std::uint64_t next) noexcept {
    return (word & ~(link_mask << 24)) | (next << 24);
}
constexpr std::uint64_t head_word(unsigned order, bool clean) noexcept {
    return FrameWord::owner_bits(slot_free) | (std::uint64_t{order} << order_shift) | (clean ? clean_bit : 0);
}
std::uint64_t& list_of(std::uint64_t frame, unsigned order, bool clean) noexcept {
    return lists.head[frame >= low_frames][clean][order];
}

void push(std::uint64_t frame, unsigned order, bool clean) noexcept {
    std::uint64_t& head = list_of(frame, order, clean);
    set_word(frame, with_next(with_prev(head_word(order, clean), no_frame), head));
    if (head != no_frame) set_word(head, with_prev(word_at(head), frame));
    head = frame;
}

void unlink(std::uint64_t frame, unsigned order, bool clean) noexcept {
    const std::uint64_t word = word_at(frame);
    const std::uint64_t prev = prev_of(word), next = next_of(word);
    if (prev == no_frame)
        list_of(frame, order, clean) = next;
    else
        set_word(prev, with_next(word_at(prev), next));
    if (next != no_frame) set_word(next, with_prev(word_at(next), prev));
    set_word(frame, body_word);
}

/// Whether `frame` is the first of a free block of this order and cleanliness.
bool is_free_block(std::uint64_t frame, unsigned order, bool clean) noexcept {
    constexpr std::uint64_t described = ~((1ull << 48) - 1);
    return frame < frame_limit && (word_at(frame) & described) == head_word(order, clean);
}

/// Puts a block back, joined with its buddies. Lock held.
void insert(std::uint64_t frame, unsigned order, bool clean) noexcept {
    while (order < max_order) {
        const std::uint64_t buddy = frame ^ (1ull << order);
        if (!is_free_block(buddy, order, clean)) break;
        unlink(buddy, order, clean);
        set_word(frame, body_word);
        frame &= ~(1ull << order);
        ++order;
    }
    push(frame, order, clean);
}

/// Takes 2^order frames out of a free block of `have` ≥ order; the rest stays free. Lock held.
void carve(std::uint64_t frame, unsigned have, unsigned order, bool clean) noexcept {
    unlink(frame, have, clean);
    while (have > order) {
        --have;
        push(frame + (1ull << have), have, clean);
    }
}

/// The first block that serves the request in one zone, as its frame and order; order 15: none. Lists are in no order:
/// where only some of memory will do, each is looked at for a few steps, as interrupts are off.
struct Found {
    std::uint64_t frame;
    unsigned order;
};
Found find(unsigned zone, bool clean, unsigned order, std::uint64_t limit) noexcept {
    if (zone == 1 && limit <= low_frames) return {no_frame, body_order};
    for (unsigned have = order; have <= max_order; ++have) {
        std::uint64_t at = lists.head[zone][clean][have];
        for (unsigned steps = 64; at != no_frame && steps != 0; at = next_of(word_at(at)), --steps)
            if (at + (1ull << order) <= limit) return {at, have};
    }
    return {no_frame, body_order};
}

void clear_block(MachineFrame first, unsigned order) noexcept {
    for (std::uint64_t n = 0; n < 1ull << order; ++n) arch::clear_page(arch::direct_map(first + n));
}

} // namespace

void allocator_add(MachineFrame first, std::uint64_t count) noexcept {
    std::uint64_t at = first.raw();
    const std::uint64_t end = at + count < no_frame ? at + count : no_frame;
    LockGuard guard{lists.lock};
    while (at < end) {
        unsigned order = at == 0 ? max_order : static_cast<unsigned>(__builtin_ctzll(at));
        if (order > max_order) order = max_order;
        while (at + (1ull << order) > end) --order;
        for (std::uint64_t n = 1; n < 1ull << order; ++n) set_word(at + n, body_word);
        insert(at, order, false);
        lists.free += 1ull << order;
        lists.dirty += 1ull << order;
        at += 1ull << order;
    }
}

Result<FrameBlock> allocator_take(unsigned order, unsigned address_bits, bool zero) noexcept {
    const std::uint64_t limit = address_bits == 0 || address_bits >= 52 ? ~0ull : (1ull << address_bits) >> page_shift;
    Found found{no_frame, body_order};
    bool clean = zero;
    {
        LockGuard guard{lists.lock};
        // Memory above 4 GiB first; in each zone blocks of the kind that is wanted first.
        for (unsigned choice = 0; choice < zones * kinds && found.order == body_order; ++choice) {
            clean = (choice & 1) != 0 ? !zero : zero;
            found = find(choice < kinds ? 1 : 0, clean, order, limit);
        }
        if (found.order == body_order) return Errno::nomem;
        carve(found.frame, found.order, order, clean);
        lists.free -= 1ull << order;
        if (!clean) lists.dirty -= 1ull << order;
    }
    const MachineFrame first{found.frame};
    if (zero && !clean) clear_block(first, order);
    return FrameBlock{first, clean || zero};
}

void allocator_give(MachineFrame first, unsigned order) noexcept {
    LockGuard guard{lists.lock};
    for (std::uint64_t n = 1; n < 1ull << order; ++n) set_word(first.raw() + n, body_word);
    insert(first.raw(), order, false);
    lists.free += 1ull << order;
    lists.dirty += 1ull << order;
}

bool allocator_scrub_some() noexcept {
    MachineFrame first;
    unsigned order;
    {
        LockGuard guard{lists.lock};
        Found found = find(1, false, 0, ~0ull);
        if (found.order == body_order) found = find(0, false, 0, ~0ull);
        if (found.order == body_order) return false;
        order = found.order < scrub_order ? found.order : scrub_order;
        carve(found.frame, found.order, order, false);
        first = MachineFrame{found.frame};
        lists.dirty -= 1ull << order;
    }
    clear_block(first, order);
    LockGuard guard{lists.lock};
    insert(first.raw(), order, true);
    return true;
}

std::uint64_t allocator_free_frames() noexcept {
    LockGuard guard{lists.lock};
    return lists.free;
}

std::uint64_t allocator_dirty_frames() noexcept {
    LockGuard guard{lists.lock};
    return lists.dirty;
}

} // namespace cero
