// SPDX-License-Identifier: BSD-2-Clause
// Starting CPUs, and stopping them in a panic.
#pragma once

#include <platform/acpi/tables.hpp>

namespace cero::arch {

/// Numbers the CPUs that ACPI lists (this one first), at most `limit`, and makes their areas. Boot
/// only.
void make_cpu_areas(const platform::AcpiInfo& acpi, std::uint32_t boot_apic_id, std::uint32_t limit) noexcept;
/// Starts them one after the other; each ends in run_guests(). Those that stay silent are named in
/// the log.
void start_other_cpus() noexcept;
void set_cpu_online(CpuId cpu) noexcept;
/// Panic: the others stop where they are.
void stop_other_cpus() noexcept;
[[noreturn]] inline void halt_forever() noexcept {
    for (;;) __asm__ volatile("cli; hlt");
}
/// The CPU's main loop: schedule, run guests, idle. Needs the CPU's idle vCPU. Resets the stack.
[[noreturn]] void run_guests() noexcept;

} // namespace cero::arch
