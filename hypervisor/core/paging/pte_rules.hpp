// SPDX-License-Identifier: BSD-2-Clause
// What an entry may hold at each level, and what is stored in place of what the guest wrote.
#pragma once

#include <core/paging/pte.hpp>

namespace cero {

/// Bits that make a present level-2, 3 or 4 entry unacceptable.
inline constexpr std::uint64_t upper_forbidden =
    ~(Pte::present | Pte::write | Pte::user | Pte::accessed | Pte::dirty | Pte::available | Pte::available_high |
      Pte::no_execute | Pte::frame_mask);
/// Set in kernel entries: both modes run in ring 3, and the guest may see which pages are its
/// kernel's.
inline constexpr std::uint64_t guest_kernel = 1ull << 52;

/// Changes of a level-1 entry that need no look at the frame: everything but presence, frame and
/// write permission.
inline constexpr std::uint64_t l1_structure = Pte::present | Pte::write | Pte::frame_mask;

/// Bits that level-1 entries of a domain may have. Only who may drive devices chooses how memory is cached: caches
/// may disagree about a frame that is mapped both ways, and what they disagree about could be a page table.
constexpr std::uint64_t l1_kept(bool drives_devices) noexcept {
    return ~(drives_devices ? Pte::global : Pte::global | Pte::cache_bits);
}
/// A present level-1 entry as it is stored: reachable from ring 3, never global.
constexpr Pte adjust_l1(Pte entry, std::uint64_t kept) noexcept {
    std::uint64_t raw = entry.raw() & kept;
    if ((raw & Pte::user) == 0) raw |= Pte::user | guest_kernel;
    return Pte{raw};
}
constexpr Pte adjust_upper(Pte entry, FrameType level) noexcept {
    const std::uint64_t extra = level == FrameType::l4 ? Pte::user | Pte::accessed : Pte::user;
    return Pte{entry.raw() | extra};
}

} // namespace cero
