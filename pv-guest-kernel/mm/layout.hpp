// SPDX-License-Identifier: BSD-2-Clause
// Virtual address space of the kernel, and the format of page-table entries.
//
//   slots 0-255    user; kernel and user level-4 table of a process share these level-3 tables
//   slots 256-271  hypervisor (the machine-to-physical table is readable at its start)
//   slot  272      direct map: every own frame; its first GiB shares the level-2 table of the image
//   slot  273      kernel mappings: device registers, grants, foreign frames
//   slot  511      kernel image and start-of-day data: frame n at image_base + n * page_size
#pragma once

#include <kernel/types.hpp>

namespace kernel {

inline constexpr std::uintptr_t direct_base = 0xffff'8800'0000'0000;
inline constexpr std::uintptr_t vmap_base = 0xffff'8880'0000'0000;
inline constexpr std::uintptr_t vmap_end =
    vmap_base + (std::uintptr_t{1} << 37); // 128 GiB are plenty
inline constexpr std::uintptr_t image_base = 0xffff'ffff'8000'0000;
inline constexpr unsigned direct_slot = 272;
inline constexpr unsigned vmap_slot = 273;
inline constexpr unsigned image_slot = 511;
inline constexpr unsigned entries_per_table = 512;

using PteValue = std::uint64_t;

namespace pte {
inline constexpr PteValue present = 1;
inline constexpr PteValue writable = 2;
inline constexpr PteValue user = 4;
inline constexpr PteValue write_through = 8;
inline constexpr PteValue cache_disable = 0x10;
inline constexpr PteValue accessed = 0x20;
inline constexpr PteValue dirty = 0x40;
/// Software: the frame is not an own, counted page (device, grant, foreign).
inline constexpr PteValue special = 0x200;
/// Software, in an absent entry: the page stays the process', but may not be touched (PROT_NONE).
/// The frame bits are inverted, so that no CPU speculates on them.
inline constexpr PteValue hidden = 0x400;
inline constexpr PteValue no_execute = PteValue{1} << 63;
inline constexpr PteValue frame_mask = 0x000f'ffff'ffff'f000;

inline constexpr PteValue table = present | writable | user | accessed | dirty;
inline constexpr PteValue kernel_data = present | writable | accessed | dirty | no_execute;
inline constexpr PteValue kernel_read = present | accessed | dirty | no_execute;

constexpr PteValue make(MachineFrame frame, PteValue flags) noexcept {
    return (frame.raw() << page_shift) | flags;
}
constexpr MachineFrame frame(PteValue entry) noexcept {
    return MachineFrame{(((entry & present) != 0 ? entry : ~entry) & frame_mask) >> page_shift};
}
/// The entry holds a page, reachable or hidden.
constexpr bool holds_page(PteValue entry) noexcept {
    return (entry & (present | hidden)) != 0;
}
constexpr PteValue make_hidden(MachineFrame frame, PteValue flags) noexcept {
    return (~(frame.raw() << page_shift) & frame_mask) | hidden | flags;
}
} // namespace pte

/// Index of an address in a table of `level` 1 to 4.
constexpr unsigned table_index(std::uintptr_t address, unsigned level) noexcept {
    return static_cast<unsigned>(address >> (page_shift + 9 * (level - 1))) &
           (entries_per_table - 1);
}

} // namespace kernel
