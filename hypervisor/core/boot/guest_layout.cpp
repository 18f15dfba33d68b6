// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/guest_layout.hpp>

namespace cero {
namespace {

constexpr std::uint64_t pages_of(std::uint64_t bytes) noexcept { return (bytes + page_size - 1) >> page_shift; }

/// Tables of levels 1 to 3 that cover [first, first + frames * 4096).
constexpr std::uint64_t tables_for(std::uint64_t first, std::uint64_t frames) noexcept {
    std::uint64_t tables = 0;
    const std::uint64_t last = first + (frames << page_shift) - 1;
    for (unsigned shift = 21; shift <= 39; shift += 9) tables += (last >> shift) - (first >> shift) + 1;
    return tables;
}

constexpr std::uint64_t mapping_unit = 1024; // frames: the mapping ends at a multiple of 4 MiB
constexpr std::uint64_t slack = 128;         // frames mapped behind the stack at least: 512 KiB

} // namespace

Result<GuestLayout> lay_out(const PvImage& image, std::uint64_t frames, std::uint64_t ramdisk_bytes) noexcept {
    GuestLayout layout{};
    layout.frames = frames;
    layout.ramdisk_frames = pages_of(ramdisk_bytes);
    layout.ramdisk_mapped = layout.ramdisk_frames != 0 && !image.ramdisk_by_frame;
    layout.p2m_frames = pages_of(frames * sizeof(std::uint64_t));
    std::uint64_t next = pages_of(image.end - image.virt_base);
    const auto place = [&next](std::uint64_t count) {
        const std::uint64_t at = next;
        next += count;
        return at;
    };
    if (layout.ramdisk_mapped) layout.ramdisk = place(layout.ramdisk_frames);
    if (!image.init_p2m) layout.p2m = place(layout.p2m_frames);
    layout.start_info = place(1);
    // The tables map themselves: their number grows until it suffices.
    layout.tables = next;
    for (layout.table_frames = 1;;) {
        const std::uint64_t end = layout.tables + layout.table_frames + 1 + slack;
        layout.mapped = (end + mapping_unit - 1) / mapping_unit * mapping_unit;
        const std::uint64_t wanted = 1 + tables_for(image.virt_base, layout.mapped);
        if (wanted == layout.table_frames) break;
        layout.table_frames = wanted;
    }
    layout.stack = layout.tables + layout.table_frames;
    next = layout.mapped;
    if (layout.ramdisk_frames != 0 && !layout.ramdisk_mapped) layout.ramdisk = place(layout.ramdisk_frames);
    if (image.init_p2m) {
        layout.p2m_tables = tables_for(*image.init_p2m, layout.p2m_frames);
        layout.p2m = place(layout.p2m_frames + layout.p2m_tables);
    }
    layout.needed = next;
    constexpr std::uint64_t one_gib = 1ull << (30 - page_shift);
    if (layout.needed > frames || layout.mapped > one_gib) return Errno::nomem;
    return layout;
}

} // namespace cero
