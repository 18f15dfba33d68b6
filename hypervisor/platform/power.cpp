// SPDX-License-Identifier: BSD-2-Clause
// Power off by ACPI S5; reset by the ACPI reset register, port 0xcf9, the keyboard controller, a
// triple fault.
#include <arch/api/power.hpp>

#include <arch/api/console.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/io/port.hpp>
#include <arch/x86_64/smp/smp.hpp>
#include <arch/x86_64/time/clock.hpp>
#include <platform/acpi/machine.hpp>

namespace cero::arch {
namespace {

constexpr std::uint16_t sleep_enable = 1u << 13;
constexpr std::uint16_t sci_enable = 1;

void switch_acpi_on(const platform::AcpiInfo& acpi) noexcept {
    if (acpi.smi_command == 0 || acpi.acpi_enable == 0 || (in16(acpi.pm1a_control) & sci_enable) != 0) return;
    out8(static_cast<std::uint16_t>(acpi.smi_command), acpi.acpi_enable);
    for (unsigned n = 0; n < 300 && (in16(acpi.pm1a_control) & sci_enable) == 0; ++n) delay_microseconds(1000);
}

void write_sleep(std::uint16_t port, std::uint8_t type) noexcept {
    if (port != 0) out16(port, static_cast<std::uint16_t>(type << 10 | sleep_enable));
}

} // namespace

void power_off() noexcept {
    log(Level::info, "powering off");
    stop_other_cpus();
    const platform::AcpiInfo& acpi = platform::acpi_info();
    if (acpi.has_fadt && acpi.has_s5) {
        switch_acpi_on(acpi);
        write_sleep(acpi.pm1a_control, acpi.s5_a);
        write_sleep(acpi.pm1b_control, acpi.s5_b);
        delay_microseconds(1000000);
    }
    log(Level::error, "the machine does not switch off: do it by hand");
    halt_forever();
}

void reboot() noexcept {
    if (boot_option("noreboot")) {
        log(Level::info, "halted, as `noreboot` asks");
        stop_other_cpus();
        halt_forever();
    }
    log(Level::info, "restarting");
    stop_other_cpus();
    const platform::AcpiInfo& acpi = platform::acpi_info();
    if (acpi.has_reset && acpi.reset_space == 1) out8(static_cast<std::uint16_t>(acpi.reset_address), acpi.reset_value);
    delay_microseconds(50000);
    out8(0xcf9, 2);
    out8(0xcf9, 6);
    delay_microseconds(50000);
    out8(0x64, 0xfe);
    delay_microseconds(50000);
    triple_fault();
    halt_forever();
}

} // namespace cero::arch
