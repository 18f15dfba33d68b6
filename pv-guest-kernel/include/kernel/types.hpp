// SPDX-License-Identifier: BSD-2-Clause
// Words that every kernel header uses: frame numbers, domain ids, the Result family.
#pragma once

#include <cero/lib/result.hpp>
#include <cero/lib/strong.hpp>

#include <cstddef>
#include <cstdint>

namespace kernel {

using cero::Errno;
using cero::Result;
using cero::Status;
using cero::Unit;

/// A frame of real memory, as page tables and grants name it.
using MachineFrame = cero::Strong<struct MachineFrameTag, std::uint64_t>;
/// A frame in this domain's own dense numbering, 0 .. nr_pages.
using GuestFrame = cero::Strong<struct GuestFrameTag, std::uint64_t>;
using DomainId = std::uint16_t;

inline constexpr std::size_t page_shift = 12;
inline constexpr std::size_t page_size = std::size_t{1} << page_shift;
inline constexpr std::uintptr_t page_mask = page_size - 1;

constexpr std::uint64_t page_down(std::uint64_t address) noexcept {
    return address & ~std::uint64_t{page_mask};
}
constexpr std::uint64_t page_up(std::uint64_t address) noexcept {
    return (address + page_mask) & ~std::uint64_t{page_mask};
}

/// Longer spans, counted in nanoseconds since the kernel's start or as a length.
using Nanoseconds = std::uint64_t;
inline constexpr Nanoseconds ns_per_us = 1000;
inline constexpr Nanoseconds ns_per_ms = 1000 * ns_per_us;
inline constexpr Nanoseconds ns_per_s = 1000 * ns_per_ms;

} // namespace kernel
