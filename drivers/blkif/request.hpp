// SPDX-License-Identifier: BSD-2-Clause
// Checks on block requests that came from a guest. Pure functions over a private copy of the slot.
#pragma once

#include <cero/abi/io/blk.h>
#include <cero/driver/block.hpp>

namespace drivers::blkif {

/// Segments per indirect request that we offer: 128 KiB of data.
inline constexpr unsigned max_segments = 32;

/// A request as the backend will carry it out.
struct Plan {
    std::uint64_t id{};
    std::uint8_t response_op{}; ///< of an indirect request: the inner one
    BlockOp op{BlockOp::read};
    bool is_barrier{}; ///< after everything before it, before everything after it; durable
    bool indirect{};   ///< `segments` still has to be fetched from indirect_ref
    cero_grant_ref indirect_ref{};
    std::uint64_t sector{};
    std::uint64_t sector_count{};
    std::uint64_t done{}; ///< of a discard that is done in parts
    unsigned segment_count{};
    cero_blkif_segment segments[max_segments];
};

/// Fills `plan` (id and response_op in every case). ok; opnotsupp: unknown operation; inval: bad
/// fields.
[[nodiscard]] Errno check_request(const cero_blkif_entry& entry, Plan& plan) noexcept;
/// Checks the segments of the plan and sums up sector_count. inval: a segment is no range of a
/// page.
[[nodiscard]] Errno check_segments(Plan& plan) noexcept;
/// Whether every segment is made of whole blocks of the disk.
[[nodiscard]] bool are_whole_blocks(const Plan& plan, std::uint32_t block_size) noexcept;
/// The protocol's status for an outcome.
[[nodiscard]] std::int16_t status_of(Errno error) noexcept;

/// Name of a virtual device number, e.g. 51712 -> "xvda", 51713 -> "xvda1"; false when it has none.
[[nodiscard]] bool disk_name(std::uint64_t virtual_device, char* out, std::size_t size) noexcept;

} // namespace drivers::blkif
