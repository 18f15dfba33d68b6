// SPDX-License-Identifier: BSD-2-Clause
// What the boot loader told, copied out of its memory; and the RAM that is left.
#pragma once

#include <arch/x86_64/mm/early_memory.hpp>

namespace cero::arch {

/// Copies map, modules and command lines from the boot information (physical address, below 4 GiB,
/// still mapped by the boot tables), reads ACPI. False: malformed.
[[nodiscard]] bool read_boot_information(std::uint64_t physical) noexcept;
/// RAM minus image, modules and the first pages.
[[nodiscard]] EarlyMemory& early_memory() noexcept;

} // namespace cero::arch
