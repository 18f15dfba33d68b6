// SPDX-License-Identifier: BSD-2-Clause
// PageCache: lookup, fill with read-ahead, write-back, truncation, and reclaim over all caches.
#include "page_cache.hpp"
#include <kernel/time.hpp>
#include <kernel/vfs.hpp>

#include <cstring>

namespace kernel {

namespace {

using AllCaches = cero::IntrusiveList<PageCache, &PageCache::all_link>;

/// Process-wide accounting. `lock` guards `caches`.
struct Registry {
    Spinlock lock;
    AllCaches caches;
    std::uint64_t pages{};
    std::uint64_t dirty{};
};

Registry& registry() noexcept {
    static Registry instance;
    return instance;
}

std::size_t smaller(std::size_t a, std::size_t b) noexcept {
    return a < b ? a : b;
}

bool has(const Page& page, std::uint16_t flag) noexcept {
    return (page.flags & flag) != 0;
}
void set(Page& page, std::uint16_t flag) noexcept {
    page.flags = static_cast<std::uint16_t>(page.flags | flag);
}
void clear(Page& page, std::uint16_t flag) noexcept {
    page.flags = static_cast<std::uint16_t>(page.flags & ~flag);
}

constexpr std::uint16_t all_sectors = 0xff00;

/// Of all memory: what the caches leave free for allocations that cannot wait, and how much may be
/// dirty.
constexpr std::uint64_t free_share = 16;
constexpr std::uint64_t dirty_share = 8;
constexpr std::size_t reclaim_batch = 128;

/// Before a cache grows: gives back clean pages when free memory runs short.
void leave_room() noexcept {
    const MemoryInfo info = memory_info();
    if (info.free_pages < info.total_pages / free_share)
        page_cache::reclaim(reclaim_batch);
}

bool too_much_is_dirty() noexcept {
    return registry().dirty > memory_info().total_pages / dirty_share;
}

} // namespace

PageCache::PageCache(Inode& host, PageStore* store) noexcept : host_{host}, store_{store} {
    SpinGuard guard{registry().lock};
    registry().caches.push_back(*this);
}

PageCache::~PageCache() {
    {
        SpinGuard guard{registry().lock};
        AllCaches::remove(*this);
    }
    std::uint64_t index = 0;
    while (Page* page = tree_.next(index)) {
        tree_.erase(index);
        release_page(*page);
    }
}

Status PageCache::add_page(Page& page, std::uint64_t index) noexcept {
    page.index = index;
    SpinGuard guard{lock_};
    if (!tree_.insert(index, &page))
        return Errno::nomem;
    ++pages_count_;
    ++registry().pages;
    return {};
}

/// The page has left the tree: drop the cache's reference and its accounting.
void PageCache::release_page(Page& page) noexcept {
    if (has(page, cache_flag::dirty)) {
        --dirty_count_;
        --registry().dirty;
    }
    --pages_count_;
    --registry().pages;
    page.flags = 0;
    page.put();
}

Page* PageCache::find_locked(std::uint64_t index) noexcept {
    SpinGuard guard{lock_};
    Page* page = tree_.find(index);
    if (page != nullptr) {
        page->get();
        set(*page, cache_flag::accessed);
    }
    return page;
}

void PageCache::wait_idle(Page& page) noexcept {
    if (has(page, cache_flag::busy))
        idle_.wait([&] { return !has(page, cache_flag::busy); });
}

Result<Page*> PageCache::get(std::uint64_t index, bool whole) noexcept {
    for (;;) {
        Page* page = find_locked(index);
        if (page == nullptr)
            return fill(index, whole);
        if (!has(*page, cache_flag::up_to_date))
            wait_idle(*page);
        if (has(*page, cache_flag::up_to_date))
            return page;
        const bool failed = has(*page, cache_flag::failed);
        page->put();
        if (failed)
            return Errno::io;
    }
}

/// Adds the pages behind `index` that a sequential reader will want; run[0] is there already.
std::size_t PageCache::read_ahead(Page** run, std::uint64_t index) noexcept {
    const std::uint64_t end = page_up(host_.size) >> page_shift;
    if (index == next_sequential_ || index == 0)
        window_ = window_ == 0 ? 4 : smaller(window_ * 2, PageStore::max_run);
    else
        window_ = 1;
    std::size_t count = 1;
    while (count < window_ && index + count < end) {
        {
            SpinGuard guard{lock_};
            if (tree_.find(index + count) != nullptr)
                break;
        }
        Page* page = alloc_page(PageUse::cache);
        if (page == nullptr)
            break;
        page->flags = cache_flag::busy;
        if (!add_page(*page, index + count)) {
            page->put();
            break;
        }
        run[count++] = page;
    }
    next_sequential_ = index + count;
    return count;
}

Result<Page*> PageCache::fill(std::uint64_t index, bool whole) noexcept {
    const bool zero = store_ == nullptr;
    leave_room();
    Page* page = zero && !whole ? alloc_zeroed(PageUse::cache) : alloc_page(PageUse::cache);
    if (page == nullptr)
        return Errno::nomem;
    page->flags = zero || whole ? cache_flag::up_to_date : cache_flag::busy;
    page->get();
    if (auto added = add_page(*page, index); !added) {
        page->put();
        page->put();
        return added.error();
    }
    if (zero || whole)
        return page;

    Page* run[PageStore::max_run] = {page};
    const std::size_t count = read_ahead(run, index);
    const auto status = store_->read_pages(run, count);
    for (std::size_t i = 0; i < count; ++i) {
        clear(*run[i], cache_flag::busy);
        set(*run[i], status ? cache_flag::up_to_date : cache_flag::failed);
    }
    if (!status) {
        SpinGuard guard{lock_};
        for (std::size_t i = 0; i < count; ++i)
            tree_.erase(run[i]->index);
    }
    idle_.wake_all();
    if (status)
        return page;
    for (std::size_t i = 0; i < count; ++i)
        release_page(*run[i]);
    page->put();
    return status.error();
}

void PageCache::mark_dirty(Page& page) noexcept {
    set(page, tracks_sectors_ ? all_sectors : 0);
    if (store_ == nullptr || has(page, cache_flag::dirty))
        return;
    set(page, cache_flag::dirty);
    ++dirty_count_;
    ++registry().dirty;
}

void PageCache::mark_sectors_dirty(Page& page, unsigned first, unsigned count) noexcept {
    const unsigned bits = ((1U << count) - 1U) << (first + cache_flag::sector_shift);
    page.flags = static_cast<std::uint16_t>(page.flags | bits);
    if (has(page, cache_flag::dirty))
        return;
    set(page, cache_flag::dirty);
    ++dirty_count_;
    ++registry().dirty;
}

void PageCache::forget_sectors(std::uint64_t index, unsigned first, unsigned count) noexcept {
    SpinGuard guard{lock_};
    Page* page = tree_.find(index);
    if (page == nullptr)
        return;
    const unsigned bits = ((1U << count) - 1U) << (first + cache_flag::sector_shift);
    clear(*page, static_cast<std::uint16_t>(bits));
    if ((page->flags & all_sectors) == 0 && has(*page, cache_flag::dirty)) {
        clear(*page, cache_flag::dirty);
        --dirty_count_;
        --registry().dirty;
    }
}

Result<Page*> PageCache::get_page(std::uint64_t index, bool for_write) {
    if (index >= page_up(host_.size) >> page_shift)
        return Errno::inval;
    Page* page = TRY(get(index));
    const std::uint64_t start = index << page_shift;
    if (for_write && store_ != nullptr) {
        MutexGuard guard{host_.lock};
        Errno error = Errno::inval; // truncated meanwhile
        if (start < host_.size)
            error = store_->reserve(start, smaller(page_size, host_.size - start)).error();
        if (error != Errno::ok) {
            page->put();
            return error;
        }
    }
    if (for_write) {
        set(*page, cache_flag::mapped_writable);
        mark_dirty(*page);
    }
    return page;
}

Page* PageCache::peek_page(std::uint64_t index) {
    if (index >= page_up(host_.size) >> page_shift)
        return nullptr;
    Page* page = find_locked(index);
    if (page != nullptr && !has(*page, cache_flag::up_to_date)) {
        page->put();
        return nullptr;
    }
    return page;
}

void PageCache::map_get() {
    host_.get();
}
void PageCache::map_put() {
    host_.put();
}

Result<std::size_t> PageCache::read(IoBuffer& buffer, std::uint64_t offset) noexcept {
    const std::size_t before = buffer.done();
    while (buffer.remaining() != 0 && offset < host_.size) {
        const std::size_t in_page = offset & page_mask;
        const std::size_t chunk =
            smaller(smaller(page_size - in_page, buffer.remaining()), host_.size - offset);
        Result<std::size_t> copied = Errno::ok;
        bool hole = false;
        if (store_ == nullptr) { // a hole of a tmpfs file needs no page to be read
            SpinGuard guard{lock_};
            hole = tree_.find(offset >> page_shift) == nullptr;
        }
        std::size_t count = 0;
        Errno error = Errno::ok;
        if (hole) {
            auto zeros = buffer.put_zeros(chunk);
            error = zeros.error();
            count = zeros ? *zeros : 0;
        } else {
            auto page = get(offset >> page_shift);
            error = page.error();
            if (page) {
                auto done = buffer.put(static_cast<char*>((*page)->data()) + in_page, chunk);
                (*page)->put();
                error = done.error();
                count = done ? *done : 0;
            }
        }
        if (error != Errno::ok)
            return buffer.done() != before ? Result<std::size_t>{buffer.done() - before}
                                           : Result<std::size_t>{error};
        offset += count;
        if (count < chunk)
            break;
    }
    return buffer.done() - before;
}

Result<std::size_t> PageCache::write(IoBuffer& buffer, std::uint64_t offset) noexcept {
    const std::size_t before = buffer.done();
    Errno error = Errno::ok;
    while (buffer.remaining() != 0 && error == Errno::ok) {
        const std::size_t in_page = offset & page_mask;
        const std::size_t chunk = smaller(page_size - in_page, buffer.remaining());
        // A page that lies wholly behind the old end needs no read; its rest must read as zero.
        const bool behind_end = (offset & ~std::uint64_t{page_mask}) >= host_.size;
        const bool whole = chunk == page_size || behind_end;
        auto found = get(offset >> page_shift, whole);
        if (!found) {
            error = found.error();
            break;
        }
        Page& page = **found;
        if (has(page, cache_flag::busy))
            wait_idle(page);
        // After the read: a block that is allocated now holds something stale.
        const Status room =
            store_ == nullptr ? Status{} : Status{store_->reserve(offset, chunk).error()};
        if (!room) {
            if (whole)
                std::memset(page.data(), 0, page_size);
            page.put();
            error = room.error();
            break;
        }
        auto* data = static_cast<char*>(page.data());
        if (behind_end && chunk != page_size)
            std::memset(data, 0, page_size);
        auto copied = buffer.get(data + in_page, chunk);
        if (whole && !behind_end && (!copied || *copied < chunk))
            std::memset(data + (copied ? *copied : 0), 0, page_size - (copied ? *copied : 0));
        if (copied) {
            offset += *copied;
            if (tracks_sectors_) {
                const unsigned first = static_cast<unsigned>(in_page / 512);
                const unsigned last = static_cast<unsigned>((in_page + chunk - 1) / 512);
                mark_sectors_dirty(page, first, last - first + 1);
            } else {
                mark_dirty(page);
            }
            if (offset > host_.size)
                host_.size = offset;
            if (*copied < chunk)
                error = Errno::fault;
        } else {
            error = copied.error();
        }
        page.put();
        // A fast writer pays for the disk itself; else nothing clean would be left to reclaim.
        if (store_ != nullptr && too_much_is_dirty())
            write_back_unasked();
    }
    if (buffer.done() == before && error != Errno::ok)
        return error;
    return buffer.done() - before;
}

void PageCache::truncate(std::uint64_t size) noexcept {
    if ((size & page_mask) != 0) {
        if (Page* page = find_locked(size >> page_shift)) {
            wait_idle(*page);
            if (has(*page, cache_flag::up_to_date))
                std::memset(static_cast<char*>(page->data()) + (size & page_mask), 0,
                            page_size - (size & page_mask));
            if (size < host_.size)
                mark_dirty(*page);
            page->put();
        }
    }
    std::uint64_t index = page_up(size) >> page_shift;
    for (;;) {
        Page* page = nullptr;
        {
            SpinGuard guard{lock_};
            page = tree_.next(index);
            if (page == nullptr)
                break;
            page->get();
        }
        wait_idle(*page);
        {
            SpinGuard guard{lock_};
            tree_.erase(index);
        }
        release_page(*page);
        page->put();
    }
}

Status PageCache::write_back() noexcept {
    const Status status = write_dirty();
    const Errno earlier = unreported_;
    unreported_ = Errno::ok;
    return status ? Status{earlier} : status.error();
}

void PageCache::write_back_unasked() noexcept {
    if (const Status status = write_dirty(); !status)
        unreported_ = status.error();
}

Status PageCache::write_dirty() noexcept {
    if (store_ == nullptr)
        return {};
    Errno error = Errno::ok;
    std::uint64_t index = 0;
    while (dirty_count_ != 0) {
        Page* run[PageStore::max_run];
        std::size_t count = 0;
        {
            SpinGuard guard{lock_};
            while (count < PageStore::max_run) {
                const std::uint64_t before = index;
                Page* page = tree_.next(index);
                if (page == nullptr)
                    break;
                if (count != 0 && index != before)
                    break;
                const bool ready = has(*page, cache_flag::dirty) && !has(*page, cache_flag::busy);
                if (!ready && count != 0)
                    break;
                ++index;
                if (!ready)
                    continue;
                page->get();
                set(*page, cache_flag::busy);
                // The page counts as clean from here on, so that a write during the transfer is not
                // lost.
                const bool may_change =
                    has(*page, cache_flag::mapped_writable) && page->references > 2;
                if (!may_change) {
                    clear(*page, cache_flag::dirty | cache_flag::mapped_writable);
                    --dirty_count_;
                    --registry().dirty;
                }
                run[count++] = page;
            }
        }
        if (count == 0)
            break;
        const auto status = store_->write_pages(run, count);
        for (std::size_t i = 0; i < count; ++i) {
            clear(*run[i], cache_flag::busy);
            if (!status)
                set(*run[i], cache_flag::failed);
            run[i]->put();
        }
        idle_.wake_all();
        if (!status)
            error = status.error();
    }
    return error;
}

std::size_t PageCache::shrink(std::size_t wanted) noexcept {
    if (store_ == nullptr)
        return 0;
    std::size_t freed = 0;
    SpinGuard guard{lock_};
    std::uint64_t index = 0;
    while (freed < wanted) {
        Page* page = tree_.next(index);
        if (page == nullptr)
            break;
        const bool in_use = page->references > 1 ||
                            has(*page, cache_flag::dirty | cache_flag::busy) ||
                            !has(*page, cache_flag::up_to_date);
        if (!in_use && has(*page, cache_flag::accessed)) {
            clear(*page, cache_flag::accessed); // second chance
        } else if (!in_use) {
            tree_.erase(index);
            release_page(*page);
            ++freed;
        }
        ++index;
    }
    return freed;
}

void* alloc_buffer(unsigned& order) noexcept {
    for (;; --order) {
        if (void* pages = alloc_pages(order))
            return pages;
        if (order == 0)
            return nullptr;
    }
}

namespace page_cache {

std::uint64_t total_pages() noexcept {
    return registry().pages;
}
std::uint64_t dirty_pages() noexcept {
    return registry().dirty;
}

std::size_t reclaim(std::size_t wanted) noexcept {
    std::size_t freed = 0;
    SpinGuard guard{registry().lock};
    for (int pass = 0; pass < 2 && freed < wanted; ++pass)
        for (PageCache& cache : registry().caches)
            if (freed < wanted)
                freed += cache.shrink(wanted - freed);
    return freed;
}

void write_back_all() noexcept {
    static std::uint32_t last_pass;
    const std::uint32_t pass = ++last_pass;
    for (;;) {
        PageCache* found = nullptr;
        Ref<Inode> keep;
        {
            SpinGuard guard{registry().lock};
            for (PageCache& cache : registry().caches) {
                if (cache.visited == pass || !cache.is_dirty() || cache.host().references() == 0)
                    continue;
                found = &cache;
                keep = Ref<Inode>::share(&cache.host());
                break;
            }
        }
        if (found == nullptr)
            return;
        found->visited = pass;
        found->write_back_unasked();
    }
}

void initialize() noexcept {
    register_reclaimer(reclaim);
}

} // namespace page_cache
} // namespace kernel
