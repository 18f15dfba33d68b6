// SPDX-License-Identifier: BSD-2-Clause
// EarlyMemory: which RAM is there, what boot takes of it, and what is left for the frame allocator.
#pragma once

#include <arch/api/boot.hpp>

namespace cero::arch {

/// A set of physical ranges cut out of the RAM of a memory map. Pure arithmetic, for boot only.
class EarlyMemory {
public:
    static constexpr unsigned max_reserved = 32;

    constexpr explicit EarlyMemory(std::span<const MemoryRange> map = {}) noexcept : map_{map} {}

    /// Takes a range out (rounded outwards to pages). False: no room for another range.
    bool reserve(std::uint64_t base, std::uint64_t size) noexcept;
    /// The highest free stretch below `limit`, aligned, taken out; 0 when there is none.
    /// Allocations that follow each other grow one reservation downwards where they can.
    std::uint64_t allocate(std::uint64_t size, std::uint64_t align, std::uint64_t limit) noexcept;
    /// Visits the free ranges in ascending order, in whole pages.
    template <typename Visit> void for_each_free(Visit&& visit) const {
        for (const MemoryRange& range : map_) {
            if (range.type != MemoryType::ram) continue;
            std::uint64_t at = (range.base + 4095) & ~4095ull;
            const std::uint64_t end = (range.base + range.size) & ~4095ull;
            for (unsigned n = 0; n <= count_ && at < end; ++n) {
                const std::uint64_t hole = n < count_ ? reserved_[n].base : ~0ull;
                if (n < count_ && reserved_[n].end <= at) continue;
                const std::uint64_t stop = hole < end ? hole : end;
                if (at < stop) visit(at, stop - at);
                if (n == count_ || hole >= end) break;
                at = reserved_[n].end;
            }
        }
    }
    /// One past the last byte of RAM.
    [[nodiscard]] std::uint64_t ram_end() const noexcept;

private:
    struct Range {
        std::uint64_t base, end;
    };
    std::span<const MemoryRange> map_;
    Range reserved_[max_reserved]{}; ///< sorted, disjoint
    unsigned count_{};
};

} // namespace cero::arch
