// SPDX-License-Identifier: BSD-2-Clause
#include <platform/serial/console.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/irq.hpp>
#include <platform/acpi/machine.hpp>
#include <platform/serial/uart.hpp>

namespace cero::platform {
namespace {

void on_interrupt(std::uint32_t) noexcept {
    if (uart::receive()) arch::raise_softirq(arch::Softirq::console);
}

} // namespace

void start_console_input() noexcept {
    if (!uart::is_open()) return;
    const std::uint8_t isa = uart::enable_interrupt();
    std::uint32_t gsi = isa;
    arch::Trigger trigger = arch::Trigger::edge;
    arch::Polarity polarity = arch::Polarity::high;
    const AcpiInfo& acpi = acpi_info();
    for (unsigned n = 0; n < acpi.override_count; ++n)
        if (acpi.overrides[n].irq == isa) {
            gsi = acpi.overrides[n].gsi;
            trigger = acpi.overrides[n].level ? arch::Trigger::level : arch::Trigger::edge;
            polarity = acpi.overrides[n].low ? arch::Polarity::low : arch::Polarity::high;
        }
    const auto irq = arch::route_own_gsi(gsi, trigger, polarity, &on_interrupt);
    if (irq) arch::irq_unmask(*irq);
}

} // namespace cero::platform
