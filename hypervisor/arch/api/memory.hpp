// SPDX-License-Identifier: BSD-2-Clause
// The direct map of RAM, the machine-to-physical table, and the hypervisor's level-4 slots.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

inline constexpr std::uint64_t direct_map_base = 0xffff830000000000ull;  // level-4 slot 262
inline constexpr std::uint64_t frame_table_base = 0xffff810000000000ull; // level-4 slot 258
inline constexpr std::uint64_t m2p_alias_base = 0xffff808000000000ull;   // level-4 slot 257
/// The first 64 KiB hold the firmware's real-mode data: not RAM for anybody, but the control domain
/// may look at them.
inline constexpr std::uint64_t low_frames = 16;
inline constexpr unsigned first_hypervisor_slot = 256;
inline constexpr unsigned hypervisor_slot_count = 16;

#ifdef CERO_HOST_TEST
inline void flush_caches() noexcept {}
/// tests/support/host_arch: one arena plays the machine's memory.
extern unsigned char* host_memory;
extern std::uint64_t* host_m2p;
inline void* direct_map(MachineFrame frame) noexcept { return host_memory + (frame.raw() << page_shift); }
inline MachineFrame frame_of(const void* at) noexcept {
    return MachineFrame{static_cast<std::uint64_t>(static_cast<const unsigned char*>(at) - host_memory) >> page_shift};
}
inline std::uint64_t* m2p_table() noexcept { return host_m2p; }
#else
/// Writes back and invalidates this CPU's caches (for domains that drive devices).
inline void flush_caches() noexcept { __asm__ volatile("wbinvd" ::: "memory"); }
/// Precondition: the frame is RAM (frame_is_ram).
inline void* direct_map(MachineFrame frame) noexcept {
    return reinterpret_cast<void*>(direct_map_base + (frame.raw() << page_shift));
}
/// The frame behind an address of the direct map.
inline MachineFrame frame_of(const void* at) noexcept {
    return MachineFrame{(reinterpret_cast<std::uint64_t>(at) - direct_map_base) >> page_shift};
}
inline std::uint64_t* m2p_table() noexcept { return reinterpret_cast<std::uint64_t*>(m2p_alias_base); }
#endif

template <typename T> T* frame_ptr(MachineFrame frame) noexcept { return static_cast<T*>(direct_map(frame)); }

/// One past the highest frame of RAM; frame table and M2P are mapped for all frames below it that
/// lie in RAM (memory is mapped behind holes too, so indexing below max_frame() never faults).
[[nodiscard]] MachineFrame max_frame() noexcept;
/// Whether the memory map calls the whole frame RAM (usable or taken by the hypervisor).
[[nodiscard]] bool frame_is_ram(MachineFrame frame) noexcept;
/// Whether the control domain may map the frame as memory-mapped I/O: not RAM, not a local APIC,
/// IOAPIC or HPET that the hypervisor drives.
[[nodiscard]] bool frame_is_guest_io(MachineFrame frame) noexcept;

/// Pseudo-physical frame recorded for a machine frame. Precondition: frame < max_frame().
inline std::uint64_t m2p_get(MachineFrame frame) noexcept { return m2p_table()[frame.raw()]; }
inline void m2p_set(MachineFrame frame, std::uint64_t guest_frame) noexcept { m2p_table()[frame.raw()] = guest_frame; }

/// The 16 entries of level-4 slots 256..271, to be copied into every level-4 table at promotion.
[[nodiscard]] const std::uint64_t* hypervisor_slots() noexcept;

void clear_page(void* page) noexcept;
void copy_page(void* to, const void* from) noexcept;

} // namespace cero::arch
