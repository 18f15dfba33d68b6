// SPDX-License-Identifier: BSD-2-Clause
// VmaSet: the areas of an address space in order of address. Never overlaps; pure, tested on the
// host.
#pragma once

#include <kernel/mapping.hpp>

namespace kernel {

/// Sorted array of pointers; the set owns the array, its user the areas.
class VmaSet {
public:
    VmaSet() noexcept = default;
    VmaSet(const VmaSet&) = delete;
    VmaSet& operator=(const VmaSet&) = delete;
    ~VmaSet();

    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] Vma& operator[](std::size_t index) const noexcept { return *areas_[index]; }
    /// Index of the first area that ends above the address; size() if none.
    [[nodiscard]] std::size_t first_ending_above(UserAddress address) const noexcept;
    /// The area that holds the address, or null.
    [[nodiscard]] Vma* find(UserAddress address) noexcept;
    [[nodiscard]] bool overlaps(UserAddress start, UserAddress end) const noexcept;
    /// Makes room so that the next `extra` inserts cannot fail.
    [[nodiscard]] Status reserve(std::size_t extra) noexcept;
    void insert(Vma& area) noexcept;
    void remove_at(std::size_t index) noexcept;
    /// The highest gap of `size` bytes in [low, high); 0 if none.
    [[nodiscard]] UserAddress find_gap(std::uint64_t size, UserAddress low,
                                       UserAddress high) const noexcept;

private:
    Vma** areas_{};
    std::size_t count_{};
    std::size_t capacity_{};
    std::size_t last_found_{};
};

/// May two neighbours become one area?
[[nodiscard]] bool can_merge(const Vma& low, const Vma& high) noexcept;

} // namespace kernel
