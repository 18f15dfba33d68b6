// SPDX-License-Identifier: BSD-2-Clause
// The frame allocator: buddy lists of clean (zeroed) and dirty blocks, linked through the frame
// words.
#pragma once

#include <core/frame/frame_word.hpp>

namespace cero {

inline constexpr unsigned max_order = 12; ///< 16 MiB

/// Boot only: declares [first, first + count) to be RAM that nobody uses. The words of all frames
/// must have been set to slot_io or slot_hypervisor before. Frames of 64 GiB and above are ignored.
void allocator_add(MachineFrame first, std::uint64_t count) noexcept;

/// 2^order frames, aligned; words unspecified until the caller sets them. `clean` tells whether
/// they are zeroed; with `zero` they always are (scrubbed here if need be).
struct FrameBlock {
    MachineFrame first;
    bool clean;
};
Result<FrameBlock> allocator_take(unsigned order, unsigned address_bits, bool zero) noexcept;
/// Gives a block back; its contents count as dirty. No TLB may hold a translation to it.
void allocator_give(MachineFrame first, unsigned order) noexcept;

/// Zeroes one dirty block of a few pages, if there is one; called by the idle loop.
/// Returns false when nothing is dirty.
bool allocator_scrub_some() noexcept;

std::uint64_t allocator_free_frames() noexcept;
std::uint64_t allocator_dirty_frames() noexcept;

} // namespace cero
