// SPDX-License-Identifier: BSD-2-Clause
// The balloon: frames without memory behind them, and their way there and back.
//
// A frame that is given back keeps its number: its entry of the direct map is empty, its place in
// the physical-to-machine list says no_machine_frame, and its Page hangs in a list here.
#include "mm/balloon.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "mm/balloon_plan.hpp"
#include "mm/boot_memory.hpp"
#include "mm/buddy.hpp"
#include "mm/mmu_batch.hpp"

#include <kernel/log.hpp>

namespace kernel {
namespace {

constexpr std::uint64_t batch_pages = 64;

struct Balloon {
    Page* absent;           ///< given back, linked through Page::owner.data[0]
    std::uint64_t given_up; ///< number of them
    std::uint64_t grown;    ///< frames behind those at the start that were ever present
    std::uint64_t machine[batch_pages];
    Page* pages[batch_pages];
};
Balloon balloon;

void push_absent(Page& page) noexcept {
    page.use = PageUse::reserved;
    page.owner.data[0] = balloon.absent;
    balloon.absent = &page;
    ++balloon.given_up;
}

/// The next frame to be filled; null when all are.
Page* pop_absent() noexcept {
    if (Page* page = balloon.absent) {
        balloon.absent = static_cast<Page*>(page->owner.data[0]);
        --balloon.given_up;
        return page;
    }
    const std::uint64_t next = frames_at_start() + balloon.grown;
    if (next >= total_frames())
        return nullptr;
    ++balloon.grown;
    return page_of(GuestFrame{next});
}

cero_memory_reservation reservation(std::uint64_t count) noexcept {
    return {by_address(balloon.machine), count, 0, 0, CERO_DOMID_SELF, {}};
}

/// Puts memory behind frames and gives them to the allocator.
void fill(std::uint64_t first, std::uint64_t end) noexcept {
    {
        MmuBatch batch;
        for (std::uint64_t i = first; i < end; ++i) {
            const GuestFrame frame = balloon.pages[i]->frame();
            set_p2m(frame, MachineFrame{balloon.machine[i]});
            batch.set(direct_pte_machine(frame), direct_pte(frame, true));
        }
    }
    for (std::uint64_t i = first; i < end; ++i) {
        balloon.pages[i]->use = PageUse::kernel;
        buddy_free(*balloon.pages[i], 0);
    }
}

/// Returns how many pages the hypervisor has got.
std::uint64_t give(std::uint64_t wanted) noexcept {
    std::uint64_t count = 0;
    {
        MmuBatch batch;
        while (count < wanted) {
            Page* page = buddy_allocate(0);
            if (page == nullptr)
                break;
            balloon.pages[count] = page;
            balloon.machine[count++] = page->machine_frame().raw();
            batch.set(direct_pte_machine(page->frame()), 0);
        }
        batch.flush_tlb();
    }
    cero_memory_reservation request = reservation(count);
    const long result =
        count == 0 ? 0 : hyper::memory_op(CERO_XENMEM_decrease_reservation, &request);
    const std::uint64_t done = result < 0 ? 0 : static_cast<std::uint64_t>(result);
    for (std::uint64_t i = 0; i < done; ++i) {
        set_p2m(balloon.pages[i]->frame(), MachineFrame{no_machine_frame});
        push_absent(*balloon.pages[i]);
    }
    fill(done, count); // refused: they are as before
    return done;
}

/// Returns how many pages the hypervisor has given.
std::uint64_t take(std::uint64_t wanted) noexcept {
    std::uint64_t count = 0;
    while (count < wanted) {
        Page* page = pop_absent();
        if (page == nullptr)
            break;
        balloon.pages[count] = page;
        balloon.machine[count++] = page->frame().raw();
    }
    cero_memory_reservation request = reservation(count);
    const long result = count == 0 ? 0 : hyper::memory_op(CERO_XENMEM_populate_physmap, &request);
    const std::uint64_t done = result < 0 ? 0 : static_cast<std::uint64_t>(result);
    fill(0, done);
    while (count > done)
        push_absent(*balloon.pages[--count]);
    return done;
}

} // namespace

std::uint64_t present_frames() noexcept {
    return frames_at_start() + balloon.grown - balloon.given_up;
}

BalloonProgress balloon_step(std::uint64_t target) noexcept {
    BalloonInput now{target, present_frames(), total_frames(), buddy_free_pages()};
    BalloonStep step = plan_balloon(now, batch_pages);
    if (step.is_done)
        return BalloonProgress::reached;
    if (step.give < batch_pages && step.take == 0 && reclaim_pages(batch_pages) != 0) {
        now.free = buddy_free_pages();
        step = plan_balloon(now, batch_pages);
    }
    const std::uint64_t moved = step.give != 0 ? give(step.give) : take(step.take);
    return moved != 0 ? BalloonProgress::moved : BalloonProgress::stuck;
}

} // namespace kernel
