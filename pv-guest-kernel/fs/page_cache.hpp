// SPDX-License-Identifier: BSD-2-Clause
// PageCache: the pages of one file (or block device), filled from and written back to a backing
// store.
#pragma once

#include "radix_tree.hpp"
#include <kernel/file.hpp>
#include <kernel/mapping.hpp>
#include <kernel/page.hpp>
#include <kernel/sync.hpp>

namespace kernel {

/// Bits of Page::flags while the page is in a cache. The high byte holds one dirty bit per 512-byte
/// sector, which only caches with `tracks_sectors()` use.
namespace cache_flag {
inline constexpr std::uint16_t up_to_date = 1;
inline constexpr std::uint16_t dirty = 2;
inline constexpr std::uint16_t busy = 4; ///< being read or written
inline constexpr std::uint16_t accessed = 8;
inline constexpr std::uint16_t mapped_writable = 16; ///< may change without notice while mapped
inline constexpr std::uint16_t failed = 32;
inline constexpr unsigned sector_shift = 8;
} // namespace cache_flag

/// Where the pages of a cache come from. All functions may sleep.
class PageStore {
public:
    static constexpr std::size_t max_run = 32;
    /// Fills `count` pages with consecutive indices.
    virtual Status read_pages(Page** pages, std::size_t count) noexcept = 0;
    virtual Status write_pages(Page** pages, std::size_t count) noexcept = 0;
    /// Makes room on the medium for [offset, offset + size) before it is written.
    virtual Status reserve(std::uint64_t /*offset*/, std::size_t /*size*/) noexcept { return {}; }

protected:
    ~PageStore() = default;
};

/// Locking: `lock_` guards the tree; a page being filled or written is `busy` and waited for on
/// `idle_`. The owner's inode lock serialises truncation against writes.
class PageCache final : public Mappable {
public:
    /// A null store makes pages permanent and holes zero (tmpfs).
    PageCache(Inode& host, PageStore* store) noexcept;
    ~PageCache();

    Result<Page*> get_page(std::uint64_t index, bool for_write) override;
    Page* peek_page(std::uint64_t index) override;
    void map_get() override;
    void map_put() override;

    /// A referenced page with valid contents. `whole`: the caller overwrites all of it.
    Result<Page*> get(std::uint64_t index, bool whole = false) noexcept;
    void mark_dirty(Page& page) noexcept;
    void mark_sectors_dirty(Page& page, unsigned first, unsigned count) noexcept;
    void forget_sectors(std::uint64_t index, unsigned first, unsigned count) noexcept;

    /// read(2)/write(2) through the cache; the end of file is `host.size`, which write() extends.
    Result<std::size_t> read(IoBuffer& buffer, std::uint64_t offset) noexcept;
    Result<std::size_t> write(IoBuffer& buffer, std::uint64_t offset) noexcept;
    /// Drops pages behind `size` and clears the rest of the last one.
    void truncate(std::uint64_t size) noexcept;
    /// Writes dirty pages and waits. Reports a failure of write_back_unasked() since the last call
    /// too.
    Status write_back() noexcept;
    /// The same for nobody in particular: a failure is kept for the next who asks.
    void write_back_unasked() noexcept;
    /// Drops every clean unused page; yields the count. Never sleeps.
    std::size_t shrink(std::size_t wanted) noexcept;
    [[nodiscard]] std::uint64_t page_count() const noexcept { return pages_count_; }
    [[nodiscard]] bool is_dirty() const noexcept { return dirty_count_ != 0; }
    void set_sector_tracking() noexcept { tracks_sectors_ = true; }

    [[nodiscard]] Inode& host() noexcept { return host_; }

    cero::ListLink all_link;
    std::uint32_t visited{}; ///< last pass of write_back_all() that saw this cache

private:
    Status write_dirty() noexcept;
    Page* find_locked(std::uint64_t index) noexcept;
    Result<Page*> fill(std::uint64_t index, bool whole) noexcept;
    Status add_page(Page& page, std::uint64_t index) noexcept;
    void release_page(Page& page) noexcept;
    void wait_idle(Page& page) noexcept;
    std::size_t read_ahead(Page** run, std::uint64_t index) noexcept;

    Inode& host_;
    PageStore* store_;
    Spinlock lock_;
    RadixTree<Page> tree_;
    WaitQueue idle_;
    std::uint64_t pages_count_{};
    std::uint64_t dirty_count_{};
    std::uint64_t next_sequential_{};
    std::size_t window_{};
    bool tracks_sectors_{};
    Errno unreported_{Errno::ok}; ///< of a write that nobody waited for
};

/// 2^order pages, or fewer when memory has no such piece: `order` becomes what it is. Null: not
/// even one page.
[[nodiscard]] void* alloc_buffer(unsigned& order) noexcept;

namespace page_cache {
/// Pages of all caches, and how many of them are dirty.
std::uint64_t total_pages() noexcept;
std::uint64_t dirty_pages() noexcept;
/// Frees clean pages of backed caches.
std::size_t reclaim(std::size_t wanted) noexcept;
/// Writes every dirty page of every cache.
void write_back_all() noexcept;
void initialize() noexcept;
} // namespace page_cache

} // namespace kernel
