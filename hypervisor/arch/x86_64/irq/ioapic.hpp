// SPDX-License-Identifier: BSD-2-Clause
// IOAPICs: redirection entries by global interrupt number.
#pragma once

#include <arch/api/irq.hpp>
#include <platform/acpi/tables.hpp>

namespace cero::arch::ioapic {

/// Maps them all and masks every pin; switches the legacy PICs off.
void init(const platform::AcpiInfo& acpi) noexcept;
[[nodiscard]] std::uint32_t gsi_count() noexcept;
[[nodiscard]] bool has_pin(std::uint32_t gsi) noexcept;
/// Writes the entry, masked or not.
void program(std::uint32_t gsi, unsigned vector, std::uint32_t apic_id, Trigger trigger, Polarity polarity,
             bool masked) noexcept;
void set_mask(std::uint32_t gsi, bool masked) noexcept;

} // namespace cero::arch::ioapic
