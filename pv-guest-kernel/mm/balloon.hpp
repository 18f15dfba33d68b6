// SPDX-License-Identifier: BSD-2-Clause
// The balloon's share in the kernel's own figures; balloon_step() is in kernel/memory.hpp.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

/// Frames with memory behind them.
[[nodiscard]] std::uint64_t present_frames() noexcept;
/// Asks the caches for pages; returns how many became free.
std::size_t reclaim_pages(std::size_t wanted) noexcept;

} // namespace kernel
