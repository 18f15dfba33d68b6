// SPDX-License-Identifier: BSD-2-Clause
// Trap table set-up, and backtraces for reports.
#pragma once

#include <cstdint>

namespace kernel {

void init_traps() noexcept;
void print_backtrace(std::uint64_t rip, std::uint64_t rbp) noexcept;

} // namespace kernel
