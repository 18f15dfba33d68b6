// SPDX-License-Identifier: BSD-2-Clause
// Multiboot2 boot information: a parser over bytes that trusts no length in them.
#pragma once

#include <arch/api/boot.hpp>

namespace cero::platform {

inline constexpr unsigned max_memory_ranges = 128;
inline constexpr unsigned max_modules = 8;

/// What the boot loader told. The views point into the parsed bytes.
struct Multiboot2Info {
    struct Module {
        std::uint64_t base, size;
        std::string_view command_line;
    };
    std::string_view command_line;
    arch::MemoryRange ranges[max_memory_ranges];
    unsigned range_count{};
    Module modules[max_modules];
    unsigned module_count{};
    std::span<const std::byte> rsdp; ///< copy of the ACPI root pointer; the newer one if both are there
    bool truncated{};                ///< more ranges or modules than there is room for
};

/// `bytes` starts at the boot information and may be longer than it. False: malformed; what was
/// parsed up to there is kept.
[[nodiscard]] bool parse_multiboot2(std::span<const std::byte> bytes, Multiboot2Info& info) noexcept;

} // namespace cero::platform
