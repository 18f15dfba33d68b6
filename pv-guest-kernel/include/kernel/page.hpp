// SPDX-License-Identifier: BSD-2-Clause
// Page: what the kernel knows about each of its page frames.
#pragma once

#include <kernel/memory.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

enum class PageUse : std::uint8_t {
    reserved, ///< kernel image, start-of-day data: never freed
    free,     ///< in the buddy allocator
    kernel,   ///< alloc_pages()
    slab,     ///< kmalloc()
    table,    ///< page table of a process
    anonymous,
    cache, ///< page cache of a file (pvk-fs)
};

/// One per guest frame. `references` counts users: each page-table entry that maps the page to a
/// process, the page cache, each get(). The last put() frees it.
struct Page {
    std::uint32_t references;
    PageUse use;
    std::uint8_t order;  ///< of a block in the allocator
    std::uint16_t flags; ///< of the owner (PageUse::cache: pvk-fs; table: mm)
    std::uint64_t index; ///< of the owner (slab: object size; cache: page index in the file)
    struct Owner {
        void* data[2];
    };
    union {
        cero::ListLink link{}; ///< of the owner
        Owner owner;
    };

    void get() noexcept { ++references; }
    /// Drops a reference; frees the page when it was the last.
    void put() noexcept;
    [[nodiscard]] void* data() noexcept;
    [[nodiscard]] GuestFrame frame() const noexcept;
    [[nodiscard]] MachineFrame machine_frame() const noexcept;
};

/// A page with one reference, not cleared / cleared. Null when memory is out.
[[nodiscard]] Page* alloc_page(PageUse use) noexcept;
[[nodiscard]] Page* alloc_zeroed(PageUse use) noexcept;
[[nodiscard]] Page* page_of(const void* direct_address) noexcept;
[[nodiscard]] Page* page_of(GuestFrame frame) noexcept;

} // namespace kernel
