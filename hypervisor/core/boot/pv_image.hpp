// SPDX-License-Identifier: BSD-2-Clause
// PvImage: an ELF64 file with Xen notes, checked; the parser works on bytes and trusts none of
// them.
#pragma once

#include <core/types.hpp>

#include <optional>
#include <span>

namespace cero {

struct PvImage {
    struct Segment {
        std::uint64_t file_offset;
        std::uint64_t file_bytes;
        std::uint64_t address; ///< virtual, from the physical address in the file
        std::uint64_t memory_bytes;
    };
    static constexpr unsigned max_segments = 16;
    Segment segments[max_segments]{};
    unsigned segment_count{};

    std::uint64_t virt_base{};
    std::uint64_t entry{};
    std::uint64_t end{}; ///< one past the highest address of a segment
    std::optional<std::uint64_t> hypercall_page;
    std::optional<std::uint64_t> init_p2m;
    bool ramdisk_by_frame{}; ///< MOD_START_PFN: the ramdisk needs no mapping
};

/// The image, or null and in `problem` what is wrong with the file, for a message.
[[nodiscard]] std::optional<PvImage> parse_pv_image(std::span<const std::byte> file, const char*& problem) noexcept;

} // namespace cero
