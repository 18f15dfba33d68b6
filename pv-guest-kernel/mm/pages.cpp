// SPDX-License-Identifier: BSD-2-Clause
// Page allocation for everybody: the buddy allocator with reclaim behind it, references, device
// memory.
#include "arch/x86_64/hypercalls.hpp"
#include "mm/balloon.hpp"
#include "mm/boot_memory.hpp"
#include "mm/buddy.hpp"
#include "mm/mmu_batch.hpp"
#include "mm/slab.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/page.hpp>
#include <kernel/thread.hpp>

#include <cstring>

namespace kernel {
namespace {

constexpr unsigned max_reclaimers = 8;
Reclaimer reclaimers[max_reclaimers];
unsigned reclaimer_count;
bool reclaiming;

bool reclaim(std::size_t wanted) noexcept {
    if (reclaiming || in_event_context())
        return false;
    reclaiming = true;
    std::size_t freed = 0;
    for (unsigned i = 0; i < reclaimer_count && freed < wanted; ++i)
        freed += reclaimers[i](wanted - freed);
    reclaiming = false;
    return freed != 0;
}

Page* allocate(unsigned order) noexcept {
    Page* page = buddy_allocate(order);
    if (page == nullptr && reclaim(std::size_t{32} << order))
        page = buddy_allocate(order);
    return page;
}

bool is_contiguous(const Page* block, unsigned order, unsigned address_bits) noexcept {
    const std::uint64_t first = block->machine_frame().raw();
    for (std::uint64_t i = 1; i < (std::uint64_t{1} << order); ++i)
        if ((block + i)->machine_frame().raw() != first + i)
            return false;
    return address_bits >= 64 ||
           ((first + (std::uint64_t{1} << order)) << page_shift) >> address_bits == 0;
}

/// Swaps the machine frames behind a block for contiguous ones. On failure the block is as before.
bool exchange_frames(Page* block, unsigned order, unsigned address_bits) noexcept {
    const std::size_t count = std::size_t{1} << order;
    auto* old_frames = static_cast<std::uint64_t*>(kmalloc(count * sizeof(std::uint64_t)));
    if (old_frames == nullptr)
        return false;
    {
        MmuBatch batch;
        for (std::size_t i = 0; i < count; ++i) {
            old_frames[i] = (block + i)->machine_frame().raw();
            batch.set(direct_pte_machine((block + i)->frame()), 0);
        }
        batch.flush_tlb();
    }
    std::uint64_t out = block->frame().raw();
    cero_memory_exchange exchange{};
    exchange.in = {by_address(old_frames), count, 0, 0, CERO_DOMID_SELF, {}};
    exchange.out = {by_address(&out), 1, order, address_bits & 0xff, CERO_DOMID_SELF, {}};
    const bool good =
        hyper::memory_op(CERO_XENMEM_exchange, &exchange) == 0 && exchange.nr_exchanged == count;
    MmuBatch batch;
    for (std::size_t i = 0; i < count; ++i) {
        if (good)
            set_p2m((block + i)->frame(), MachineFrame{out + i});
        batch.set(direct_pte_machine((block + i)->frame()), direct_pte((block + i)->frame(), true));
    }
    batch.commit();
    kfree(old_frames);
    return good;
}

} // namespace

void register_reclaimer(Reclaimer reclaimer) noexcept {
    KERNEL_ASSERT(reclaimer_count < max_reclaimers);
    reclaimers[reclaimer_count++] = reclaimer;
}

void* alloc_pages(unsigned order) noexcept {
    Page* page = allocate(order);
    return page == nullptr ? nullptr : page->data();
}

void* alloc_zeroed_page() noexcept {
    void* page = alloc_pages(0);
    if (page != nullptr)
        memset(page, 0, page_size);
    return page;
}

void free_pages(void* pages, unsigned order) noexcept {
    if (pages != nullptr)
        buddy_free(*page_of(pages), order);
}

Page* alloc_page(PageUse use) noexcept {
    Page* page = allocate(0);
    if (page != nullptr)
        page->use = use;
    return page;
}

Page* alloc_zeroed(PageUse use) noexcept {
    Page* page = alloc_page(use);
    if (page != nullptr)
        memset(page->data(), 0, page_size);
    return page;
}

void Page::put() noexcept {
    if (--references == 0)
        buddy_free(*this, 0);
}

void* alloc_dma_pages(unsigned order, unsigned address_bits) noexcept {
    if (order > max_order)
        return nullptr;
    Page* block = allocate(order);
    if (block == nullptr)
        return nullptr;
    if (!is_contiguous(block, order, address_bits) &&
        !exchange_frames(block, order, address_bits)) {
        buddy_free(*block, order);
        return nullptr;
    }
    return block->data();
}

void free_dma_pages(void* pages, unsigned order) noexcept {
    free_pages(pages, order);
}

std::size_t reclaim_pages(std::size_t wanted) noexcept {
    const std::uint64_t before = buddy_free_pages();
    static_cast<void>(reclaim(wanted));
    const std::uint64_t after = buddy_free_pages();
    return after > before ? after - before : 0;
}

MemoryInfo memory_info() noexcept {
    return {present_frames(), buddy_free_pages(), 0, slab_pages()};
}

} // namespace kernel
