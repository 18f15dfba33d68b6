// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's own page tables (level-4 slots 256..271): built once at boot, changed afterwards
// only in the per-CPU descriptor windows and the MMIO window, whose tables exist from the start.
#pragma once

#include <arch/x86_64/mm/early_memory.hpp>

namespace cero::arch {

namespace pte {
inline constexpr std::uint64_t present = 1, writable = 2, user = 4, write_through = 8, cache_disable = 16,
                               accessed = 32, dirty = 64, large = 128, global = 256, no_execute = 1ull << 63;
inline constexpr std::uint64_t address_mask = 0x000ffffffffff000ull;
/// Kernel data, read and write. Entries are made accessed and dirty so that the CPU never writes
/// them.
inline constexpr std::uint64_t data = present | writable | accessed | dirty | global | no_execute;
inline constexpr std::uint64_t read_only = present | accessed | global | no_execute;
inline constexpr std::uint64_t text = present | accessed | global;
inline constexpr std::uint64_t device = data | cache_disable | write_through;
} // namespace pte

/// Builds the tables: image, direct map, M2P, frame table; loads them. Boot CPU, once.
void build_hypervisor_tables(EarlyMemory& memory) noexcept;
/// Maps one 4 KiB page of the hypervisor's part; makes tables from early memory. Boot only.
void map_hypervisor_page(std::uint64_t address, std::uint64_t physical, std::uint64_t flags) noexcept;
/// The level-1 entry of a hypervisor address whose tables exist.
[[nodiscard]] std::uint64_t* hypervisor_entry(std::uint64_t address) noexcept;
/// Maps device registers (any alignment) into the MMIO window; stays mapped. 0: window full. Marks
/// the frames as owned by the hypervisor when `exclusive`.
[[nodiscard]] std::uint64_t map_device(std::uint64_t physical, std::uint64_t bytes, bool exclusive) noexcept;
/// Zeroed pages from early memory (physical address). Boot only; panics when memory is short.
[[nodiscard]] std::uint64_t early_pages(std::uint64_t count) noexcept;
/// Physical address of the level-4 table that idle CPUs run on.
[[nodiscard]] std::uint64_t hypervisor_root() noexcept;
/// Frames taken for the hypervisor itself (image, tables, M2P, frame table, per-CPU areas).
[[nodiscard]] std::uint64_t hypervisor_frames() noexcept;

} // namespace cero::arch
