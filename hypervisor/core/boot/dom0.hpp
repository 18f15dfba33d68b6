// SPDX-License-Identifier: BSD-2-Clause
// Building the control domain from what the boot loader left in memory.
#pragma once

#include <core/types.hpp>

#include <span>
#include <string_view>

namespace cero {

/// A boot module, in memory that the direct map covers. Its frames are not in the allocator.
struct BootModule {
    std::span<const std::byte> bytes;
    std::string_view command_line;
};

struct ControlDomainOptions {
    std::uint64_t memory_bytes{};   ///< 0 = default: a quarter of RAM, 128 MiB to 1 GiB
    std::uint32_t vcpus{};          ///< 0 = default: one per CPU
    std::span<const std::byte> vga; ///< dom0_vga_console_info, may be empty
};

/// Builds dom0 and makes it runnable. On failure one clear message has been logged.
Status build_control_domain(const BootModule& kernel, const BootModule* ramdisk,
                            const ControlDomainOptions& options);

} // namespace cero
