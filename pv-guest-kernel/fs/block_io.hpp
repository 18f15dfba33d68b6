// SPDX-License-Identifier: BSD-2-Clause
// Block transfers for the caches: many pages at once, split as the device wants, waited for
// together.
#pragma once

#include <cero/driver/block.hpp>
#include <kernel/types.hpp>

namespace kernel::block_io {

/// Reads or writes the segments from `sector` on and sleeps until all is done. The first error
/// wins.
Status transfer(drivers::BlockDevice& device, drivers::BlockOp op, std::uint64_t sector,
                drivers::BlockSegment* segments, std::size_t count) noexcept;
/// Everything written so far becomes durable.
Status flush(drivers::BlockDevice& device) noexcept;
/// A segment for memory of the direct map, within one page.
drivers::BlockSegment segment_of(void* data, std::size_t length) noexcept;

} // namespace kernel::block_io
