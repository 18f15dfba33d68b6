// SPDX-License-Identifier: BSD-2-Clause
// PvImage: an ELF64 file with Xen notes, checked; the parser works on bytes and trusts none of
// them.
// GuestLayout: where everything of a new domain goes, in pseudo-physical frames.
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

/// Frame n is mapped at virt_base + n * 4096 for n < mapped. In this order:
///   kernel | ramdisk* | p2m* | start_info | page tables | boot stack | padding   (mapped)
///   ramdisk* | p2m list and its tables*                                          (not mapped)
/// *) in the first place or the second, by the notes of the kernel.
struct GuestLayout {
    std::uint64_t frames;         ///< of the domain
    std::uint64_t ramdisk;        ///< first frame
    std::uint64_t ramdisk_frames; ///< 0 = none
    bool ramdisk_mapped;
    std::uint64_t p2m;
    std::uint64_t p2m_frames; ///< of the list
    std::uint64_t p2m_tables; ///< frames of its own tables, behind the list
    std::uint64_t start_info;
    std::uint64_t tables;
    std::uint64_t table_frames;
    std::uint64_t stack;
    std::uint64_t mapped; ///< frames of the initial mapping
    std::uint64_t needed; ///< frames that have a purpose
};

/// nomem: the domain is too small.
[[nodiscard]] Result<GuestLayout> lay_out(const PvImage& image, std::uint64_t frames,
                                          std::uint64_t ramdisk_bytes) noexcept;

} // namespace cero
