// SPDX-License-Identifier: BSD-2-Clause
// Instructions of the hypervisor that may fault, and where to go on then.
#pragma once

#include <cstdint>

namespace cero::arch {

/// Address to continue at after a fault at `rip`; 0 = the fault is a bug.
[[nodiscard]] std::uint64_t find_fixup(std::uint64_t rip) noexcept;

} // namespace cero::arch
