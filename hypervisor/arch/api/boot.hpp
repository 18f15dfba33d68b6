// SPDX-License-Identifier: BSD-2-Clause
// What the machine offered at boot: memory map, modules, options, free RAM.
#pragma once

#include <core/types.hpp>

#include <optional>
#include <span>
#include <string_view>

namespace cero::arch {

enum class MemoryType : std::uint32_t { ram = 1, reserved = 2, acpi = 3, nvs = 4, unusable = 5 };
struct MemoryRange {
    std::uint64_t base;
    std::uint64_t size;
    MemoryType type;
};
/// Sorted by base, as the firmware gave it (XENMEM_machine_memory_map).
[[nodiscard]] std::span<const MemoryRange> memory_map() noexcept;

struct BootModule {
    std::uint64_t base; ///< physical; the frames stay reserved until release_boot_modules()
    std::uint64_t size;
    const char* command_line;
};
[[nodiscard]] std::span<const BootModule> boot_modules() noexcept;
/// Through the direct map.
[[nodiscard]] std::span<const std::byte> module_bytes(const BootModule& module) noexcept;

/// RAM that nobody uses after boot, as whole frames: what the frame allocator starts from. The
/// modules' frames are not among it.
void for_each_free_range(void (*visit)(MachineFrame first, std::uint64_t count)) noexcept;

/// Value of a command line option `name=value` ("" for a bare `name`), or nothing.
[[nodiscard]] std::optional<std::string_view> boot_option(std::string_view name) noexcept;
/// The whole command line.
[[nodiscard]] const char* boot_command_line() noexcept;

} // namespace cero::arch
