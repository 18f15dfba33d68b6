// SPDX-License-Identifier: BSD-2-Clause
// Control of the stand-ins in host_pages.cpp.
#pragma once

#include <cstdint>

namespace kernel {

std::uint64_t total_frames() noexcept;

namespace host {

/// A fresh arena of frames, none of which the allocator has.
void set_frames(std::uint64_t count);
/// From now on every allocation from the heap fails / succeeds.
void fail_heap(bool fail);

} // namespace host
} // namespace kernel
