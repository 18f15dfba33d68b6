// SPDX-License-Identifier: BSD-2-Clause
#include "mm/buddy.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>

namespace kernel {

extern Page* page_array;
std::uint64_t total_frames() noexcept;

namespace {

struct FreeList {
    Page* first;
};

// Free blocks hang in doubly linked lists through Page::owner.data (next, previous).
Page*& next_of(Page& page) noexcept {
    return reinterpret_cast<Page*&>(page.owner.data[0]);
}
Page*& previous_of(Page& page) noexcept {
    return reinterpret_cast<Page*&>(page.owner.data[1]);
}

Spinlock lock;
FreeList lists[max_order + 1];
std::uint64_t free_count;
std::uint64_t total_count;

void link(Page& page, unsigned order) noexcept {
    page.use = PageUse::free;
    page.order = static_cast<std::uint8_t>(order);
    next_of(page) = lists[order].first;
    previous_of(page) = nullptr;
    if (lists[order].first != nullptr)
        previous_of(*lists[order].first) = &page;
    lists[order].first = &page;
}

void unlink(Page& page, unsigned order) noexcept {
    Page* next = next_of(page);
    Page* previous = previous_of(page);
    if (next != nullptr)
        previous_of(*next) = previous;
    if (previous != nullptr)
        next_of(*previous) = next;
    else
        lists[order].first = next;
}

void insert(std::uint64_t frame, unsigned order) noexcept {
    while (order < max_order) {
        const std::uint64_t buddy = frame ^ (std::uint64_t{1} << order);
        if (buddy >= total_frames())
            break;
        Page& other = page_array[buddy];
        if (other.use != PageUse::free || other.order != order)
            break;
        unlink(other, order);
        other.use = PageUse::kernel; // no block of its own any more
        frame &= ~(std::uint64_t{1} << order);
        ++order;
    }
    link(page_array[frame], order);
}

} // namespace

void buddy_add(GuestFrame first, std::uint64_t count) noexcept {
    SpinGuard guard{lock};
    std::uint64_t frame = first.raw();
    const std::uint64_t end = frame + count;
    free_count += count;
    total_count += count;
    while (frame < end) {
        unsigned order = frame == 0 ? max_order : static_cast<unsigned>(__builtin_ctzll(frame));
        order = order > max_order ? max_order : order;
        while (frame + (std::uint64_t{1} << order) > end)
            --order;
        insert(frame, order);
        frame += std::uint64_t{1} << order;
    }
}

Page* buddy_allocate(unsigned order) noexcept {
    SpinGuard guard{lock};
    unsigned have = order;
    while (have <= max_order && lists[have].first == nullptr)
        ++have;
    if (have > max_order)
        return nullptr;
    Page& page = *lists[have].first;
    unlink(page, have);
    while (have > order) {
        --have;
        link(*(&page + (std::uint64_t{1} << have)), have);
    }
    free_count -= std::uint64_t{1} << order;
    page.use = PageUse::kernel;
    page.order = static_cast<std::uint8_t>(order);
    page.references = 1;
    page.flags = 0;
    page.index = 0;
    page.owner.data[0] = page.owner.data[1] = nullptr;
    return &page;
}

void buddy_free(Page& block, unsigned order) noexcept {
    SpinGuard guard{lock};
    if (block.use == PageUse::free)
        panic("frame %llu freed twice", static_cast<unsigned long long>(block.frame().raw()));
    block.references = 0;
    free_count += std::uint64_t{1} << order;
    insert(block.frame().raw(), order);
}

std::uint64_t buddy_free_pages() noexcept {
    return free_count;
}
std::uint64_t buddy_total_pages() noexcept {
    return total_count;
}

} // namespace kernel
