// SPDX-License-Identifier: BSD-2-Clause
// Set-up of the clock and of each CPU's timer; their use is in arch/api/clock.hpp.
#pragma once

#include <platform/acpi/tables.hpp>

namespace cero::arch {

/// Finds the frequencies of TSC and LAPIC timer. Boot CPU, once; its LAPIC is on.
void init_clock(const platform::AcpiInfo& acpi, bool allow_deadline) noexcept;
/// Every CPU.
void init_cpu_timer() noexcept;
/// Busy wait; works before init_clock() only roughly.
void delay_microseconds(std::uint64_t count) noexcept;

} // namespace cero::arch
