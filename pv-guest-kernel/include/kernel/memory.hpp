// SPDX-License-Identifier: BSD-2-Clause
// Kernel memory: heap, pages, the direct map, machine addresses, and address space for foreign
// frames.
#pragma once

#include <kernel/types.hpp>

#include <new>

namespace kernel {

/// Heap. Any context, never sleeps, null when memory is out. Blocks of at least a page are page
/// aligned, smaller ones 16-byte aligned. operator new(std::nothrow) and operator delete use it.
[[nodiscard]] void* kmalloc(std::size_t size) noexcept;
[[nodiscard]] void* kzalloc(std::size_t size) noexcept;
[[nodiscard]] void* krealloc(void* block, std::size_t size) noexcept;
void kfree(void* block) noexcept;

/// 2^order pages, contiguous in guest frames and virtually, NOT in machine frames. Not cleared.
[[nodiscard]] void* alloc_pages(unsigned order) noexcept;
[[nodiscard]] void* alloc_zeroed_page() noexcept;
void free_pages(void* pages, unsigned order) noexcept;

/// 2^order pages contiguous in machine memory below 2^address_bits, for devices (dom0 only):
/// exchanged with the hypervisor where needed. Sleeps not; may fail.
[[nodiscard]] void* alloc_dma_pages(unsigned order, unsigned address_bits) noexcept;
void free_dma_pages(void* pages, unsigned order) noexcept;

/// Addresses of the direct map and of the kernel image only.
[[nodiscard]] GuestFrame virt_to_pfn(const void* address) noexcept;
[[nodiscard]] MachineFrame virt_to_mfn(const void* address) noexcept;
[[nodiscard]] MachineFrame pfn_to_mfn(GuestFrame frame) noexcept;
[[nodiscard]] void* pfn_to_virt(GuestFrame frame) noexcept;
/// The own page that has this machine frame, if any.
[[nodiscard]] Result<GuestFrame> mfn_to_pfn(MachineFrame frame) noexcept;
[[nodiscard]] inline std::uint64_t virt_to_machine(const void* address) noexcept {
    return (virt_to_mfn(address).raw() << page_shift) |
           (reinterpret_cast<std::uintptr_t>(address) & page_mask);
}

/// How a mapping is cached.
enum class Cache : unsigned char { write_back, uncached, write_combining };

/// Maps machine memory that is not RAM of this domain (device registers), readable and writable.
[[nodiscard]] Result<void*> map_machine(std::uint64_t machine_address, std::size_t bytes,
                                        Cache cache) noexcept;
void unmap_machine(void* address, std::size_t bytes) noexcept;

/// Kernel address space without memory behind it, for grant maps and foreign frames: page tables
/// exist, every entry is empty, so grant::map() can use each page as host address.
[[nodiscard]] Result<void*> reserve_kernel_pages(std::size_t count) noexcept;
void release_kernel_pages(void* address, std::size_t count) noexcept;
/// Machine address of the page-table entry of a reserved page (for GNTMAP_contains_pte).
[[nodiscard]] std::uint64_t kernel_pte_machine(const void* address) noexcept;
/// Maps one frame of domain `owner` at a reserved page.
[[nodiscard]] Status map_kernel_frame(void* address, MachineFrame frame, DomainId owner,
                                      bool writable) noexcept;
void unmap_kernel_frame(void* address) noexcept;

struct MemoryInfo {
    std::uint64_t total_pages;
    std::uint64_t free_pages;
    std::uint64_t cached_pages; ///< page cache, reclaimable
    std::uint64_t slab_pages;
};
[[nodiscard]] MemoryInfo memory_info() noexcept;

/// The balloon: pages given back to the hypervisor, or got from it.
enum class BalloonProgress {
    reached, ///< the domain has as many pages as were wanted
    moved,   ///< some pages nearer; call again
    stuck    ///< not now: the guest needs its pages, or the hypervisor gives none
};
/// One step of the domain's memory towards `target` pages, of which some stay for the kernel
/// itself. Thread context, one caller.
[[nodiscard]] BalloonProgress balloon_step(std::uint64_t target) noexcept;

/// Called when pages run short, before anybody is killed; returns the number of pages given back.
/// Runs in the context of the allocating thread, must not sleep.
using Reclaimer = std::size_t (*)(std::size_t wanted);
void register_reclaimer(Reclaimer reclaimer) noexcept;

} // namespace kernel
