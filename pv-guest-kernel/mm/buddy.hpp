// SPDX-License-Identifier: BSD-2-Clause
// Buddy allocator over the page array: blocks of 2^order frames, order 0 to 10.
#pragma once

#include <kernel/page.hpp>

namespace kernel {

inline constexpr unsigned max_order = 10;

/// Hands frames [first, first + count) to the allocator.
void buddy_add(GuestFrame first, std::uint64_t count) noexcept;
/// A block, or null. The first page's `order` tells its size.
[[nodiscard]] Page* buddy_allocate(unsigned order) noexcept;
void buddy_free(Page& block, unsigned order) noexcept;
[[nodiscard]] std::uint64_t buddy_free_pages() noexcept;
[[nodiscard]] std::uint64_t buddy_total_pages() noexcept;

} // namespace kernel
