// SPDX-License-Identifier: BSD-2-Clause
// PersistentGrants: pages of a guest that stay mapped between requests, found by their reference.
#pragma once

#include "../ring/grant_pages.hpp"

namespace drivers::blkif {

/// A bounded table. When it is full, a page that nobody uses and that was not used lately makes
/// room
/// ("second chance"); when all are in use, there is none, and the caller maps for one request.
/// Event context, or events masked.
class PersistentGrants {
public:
    static constexpr unsigned capacity = 1024;

    struct Entry {
        kernel::grant::Ref ref{};
        kernel::grant::Handle handle{kernel::grant::invalid_handle}; ///< invalid: not mapped (yet)
        std::uint64_t machine{};
        std::uint16_t users{};
        std::uint16_t next{}; ///< in its bucket, or in the list of free entries
        bool recent{};
    };

    PersistentGrants() noexcept = default;
    PersistentGrants(const PersistentGrants&) = delete;
    PersistentGrants& operator=(const PersistentGrants&) = delete;
    ~PersistentGrants() { release(); }

    [[nodiscard]] kernel::Status allocate();
    /// Unmaps everything. Nothing may be in use.
    void release() noexcept;
    [[nodiscard]] bool is_allocated() const noexcept { return entries_ != nullptr; }

    /// The entry of a reference, with one more user; null when there is no room. `is_new`: the
    /// caller maps page() writable, and calls settle() before anybody uses the entry.
    [[nodiscard]] Entry* acquire(kernel::grant::Ref ref, bool& is_new) noexcept;
    void settle(Entry& entry, const kernel::grant::MapRequest& map) noexcept;
    /// One user less; an entry whose mapping failed goes with the last one.
    void put(Entry& entry) noexcept;

    [[nodiscard]] std::byte* page(const Entry& entry) const noexcept {
        return pages_.page(static_cast<std::size_t>(&entry - entries_));
    }
    [[nodiscard]] unsigned mapped() const noexcept { return mapped_; }

private:
    static constexpr std::uint16_t none = 0xffff;
    static constexpr unsigned bucket_count = 1024;

    [[nodiscard]] std::uint16_t& bucket(kernel::grant::Ref ref) noexcept {
        return buckets_[ref % bucket_count];
    }
    void unlink(Entry& entry) noexcept;
    void make_free(Entry& entry) noexcept;
    /// Frees one entry that is mapped and unused; false when there is none.
    bool evict() noexcept;

    GrantPages pages_;
    Entry* entries_{};
    std::uint16_t buckets_[bucket_count];
    std::uint16_t free_{none};
    unsigned hand_{}; ///< where the search for the next one to go begins
    unsigned mapped_{};
};

} // namespace drivers::blkif
