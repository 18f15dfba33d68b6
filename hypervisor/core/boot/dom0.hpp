// SPDX-License-Identifier: BSD-2-Clause
// Building the control domain from the boot modules.
#pragma once

#include <core/types.hpp>

#include <optional>
#include <string_view>

namespace cero {

/// Builds dom0 from the first module (a PV kernel) and the second (an initial ramdisk, optional),
/// and makes it runnable. Options: dom0_mem=SIZE, dom0_max_vcpus=N. On failure one message that
/// names object, cause and remedy has been logged. Call once, on the boot CPU, its idle vCPU
/// current.
Status build_control_domain();

/// A decimal number with an optional K, M, G or T behind it; what follows a comma is ignored. Null
/// when it is none, or too large.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;
/// Hypercall stubs that a kernel may ask for: writes 128 of 32 bytes; each keeps rcx and r11. The
/// page is writable to nobody else.
void fill_hypercall_page(unsigned char* page) noexcept;

} // namespace cero
