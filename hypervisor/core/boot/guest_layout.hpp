// SPDX-License-Identifier: BSD-2-Clause
// GuestLayout: where everything of a new domain goes, in pseudo-physical frames.
#pragma once

#include <core/boot/pv_image.hpp>

namespace cero {

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
