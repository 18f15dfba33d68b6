// SPDX-License-Identifier: BSD-2-Clause
// Kernel address space outside the direct map: device registers, grants, foreign frames.
#include "mm/vmap.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "mm/boot_memory.hpp"
#include "mm/mmu_batch.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>

namespace kernel {
namespace {

constexpr std::size_t vmap_pages = std::size_t{1} << 17; // 512 MiB of addresses
constexpr std::size_t table_count = vmap_pages / entries_per_table;

Spinlock lock;
std::uint64_t used[vmap_pages / 64];
std::size_t search_from;
std::uint64_t level2_machine;             // machine address of the level-2 table
std::uint64_t table_machine[table_count]; // of each level-1 table, 0 while absent

bool is_used(std::size_t page) noexcept {
    return (used[page / 64] >> (page % 64) & 1) != 0;
}
void set_used(std::size_t first, std::size_t count, bool value) noexcept {
    for (std::size_t page = first; page < first + count; ++page) {
        const std::uint64_t bit = std::uint64_t{1} << (page % 64);
        used[page / 64] = value ? used[page / 64] | bit : used[page / 64] & ~bit;
    }
}

Result<std::size_t> find_run(std::size_t from, std::size_t end, std::size_t count) noexcept {
    std::size_t run = 0;
    for (std::size_t page = from; page < end; ++page) {
        run = is_used(page) ? 0 : run + 1;
        if (run == count)
            return page + 1 - count;
    }
    return Errno::nomem;
}

/// A cleared page, read-only in the direct map; queued in the batch.
Page* new_table(MmuBatch& batch) noexcept {
    Page* page = alloc_zeroed(PageUse::table);
    if (page != nullptr)
        batch.protect(*page, false);
    return page;
}

Status make_tables(std::size_t first, std::size_t count) noexcept {
    MmuBatch batch;
    if (level2_machine == 0) {
        Page* level2 = new_table(batch);
        if (level2 == nullptr)
            return Errno::nomem;
        level2_machine = level2->machine_frame().raw() << page_shift;
        const PteValue root_entry = kernel_root()[vmap_slot];
        batch.set((pte::frame(root_entry).raw() << page_shift),
                  pte::make(level2->machine_frame(), pte::table));
    }
    for (std::size_t table = first / entries_per_table;
         table <= (first + count - 1) / entries_per_table; ++table) {
        if (table_machine[table] != 0)
            continue;
        Page* level1 = new_table(batch);
        if (level1 == nullptr)
            return Errno::nomem;
        table_machine[table] = level1->machine_frame().raw() << page_shift;
        batch.set(level2_machine + table * sizeof(PteValue),
                  pte::make(level1->machine_frame(), pte::table));
    }
    return {};
}

std::size_t page_index(const void* address) noexcept {
    return (reinterpret_cast<std::uintptr_t>(address) - vmap_base) >> page_shift;
}

PteValue cache_bits(Cache cache) noexcept {
    // Entry 2 of the hypervisor's page attribute table is UC-, entry 3 UC.
    return cache == Cache::write_back ? 0
           : cache == Cache::uncached ? pte::cache_disable | pte::write_through
                                      : pte::cache_disable;
}

Status write_entry(const void* address, PteValue value, unsigned domain) noexcept {
    const cero_mmu_update request{kernel_pte_machine(address), value};
    return errno_of(hyper::mmu_update(&request, 1, nullptr, domain));
}

} // namespace

Result<void*> reserve_kernel_pages(std::size_t count) noexcept {
    if (count == 0)
        return Errno::inval;
    SpinGuard guard{lock};
    const auto ahead = find_run(search_from, vmap_pages, count);
    const std::size_t first = ahead ? *ahead : TRY(find_run(0, vmap_pages, count));
    TRY(make_tables(first, count));
    set_used(first, count, true);
    search_from = first + count;
    return reinterpret_cast<void*>(vmap_base + (first << page_shift));
}

void release_kernel_pages(void* address, std::size_t count) noexcept {
    SpinGuard guard{lock};
    set_used(page_index(address), count, false);
}

std::uint64_t kernel_pte_machine(const void* address) noexcept {
    const std::size_t page = page_index(address);
    return table_machine[page / entries_per_table] + (page % entries_per_table) * sizeof(PteValue);
}

Result<void*> map_machine(std::uint64_t machine_address, std::size_t bytes, Cache cache) noexcept {
    const std::uint64_t offset = machine_address & page_mask;
    const std::size_t count = page_up(offset + bytes) >> page_shift;
    char* base = static_cast<char*>(TRY(reserve_kernel_pages(count)));
    for (std::size_t i = 0; i < count; ++i) {
        const MachineFrame frame{(machine_address >> page_shift) + i};
        const Status mapped = write_entry(
            base + (i << page_shift),
            pte::make(frame, pte::kernel_data | pte::special | cache_bits(cache)), CERO_DOMID_IO);
        if (!mapped) {
            unmap_machine(base, i << page_shift);
            release_kernel_pages(base + (i << page_shift), count - i);
            return mapped.error();
        }
    }
    return base + offset;
}

Result<void*> map_shared_frame(MachineFrame frame) noexcept {
    void* address = TRY(reserve_kernel_pages(1));
    const Status mapped =
        write_entry(address, pte::make(frame, pte::kernel_data | pte::special), CERO_DOMID_SELF);
    if (!mapped) {
        release_kernel_pages(address, 1);
        return mapped.error();
    }
    return address;
}

void unmap_machine(void* address, std::size_t bytes) noexcept {
    const auto start = page_down(reinterpret_cast<std::uintptr_t>(address));
    const std::size_t count =
        page_up(reinterpret_cast<std::uintptr_t>(address) + bytes - start) >> page_shift;
    if (bytes == 0)
        return;
    char* base = reinterpret_cast<char*>(start);
    {
        MmuBatch batch;
        for (std::size_t i = 0; i < count; ++i)
            batch.set(kernel_pte_machine(base + (i << page_shift)), 0);
        batch.flush_tlb();
    }
    release_kernel_pages(base, count);
}

Status map_kernel_frame(void* address, MachineFrame frame, DomainId owner, bool writable) noexcept {
    const PteValue flags = (writable ? pte::kernel_data : pte::kernel_read) | pte::special;
    return write_entry(address, pte::make(frame, flags), owner);
}

void unmap_kernel_frame(void* address) noexcept {
    MmuBatch batch;
    batch.set(kernel_pte_machine(address), 0);
    batch.flush_tlb();
}

} // namespace kernel
