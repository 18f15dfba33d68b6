// SPDX-License-Identifier: BSD-2-Clause
// ACPI tables: what the hypervisor needs of MADT, FADT, HPET, MCFG and the DSDT, from bytes that
// may lie.
#pragma once

#include <arch/api/boot.hpp>

namespace cero::platform {

/// Access to physical memory; an empty span where nothing can be read.
using PhysicalReader = std::span<const std::byte> (*)(std::uint64_t address, std::size_t size);

struct AcpiInfo {
    struct Cpu {
        std::uint32_t apic_id, acpi_id;
    };
    struct IoApic {
        std::uint32_t id, gsi_base;
        std::uint64_t address;
    };
    struct Override { ///< an ISA interrupt that is not identity-mapped
        std::uint8_t irq;
        bool level, low;
        std::uint32_t gsi;
    };
    static constexpr unsigned max_cpus = 64, max_ioapics = 8, max_overrides = 16;
    Cpu cpus[max_cpus];
    unsigned cpu_count{};
    IoApic ioapics[max_ioapics];
    unsigned ioapic_count{};
    Override overrides[max_overrides];
    unsigned override_count{};
    std::uint64_t local_apic{0xfee00000};
    std::uint64_t hpet{};      ///< 0 = none
    std::uint64_t mcfg_base{}; ///< segment 0; 0 = none
    std::uint8_t mcfg_first_bus{}, mcfg_last_bus{};
    bool has_fadt{}, has_s5{};
    std::uint16_t pm1a_control{}, pm1b_control{};
    std::uint8_t s5_a{}, s5_b{}; ///< SLP_TYP values
    std::uint32_t smi_command{};
    std::uint8_t acpi_enable{};
    std::uint8_t reset_space{}; ///< 0 memory, 1 port
    std::uint64_t reset_address{};
    std::uint8_t reset_value{};
    bool has_reset{};
};

/// Walks the tables from a copy of the root pointer. False when there is no usable root; missing
/// tables leave their fields as they are.
bool parse_acpi(std::span<const std::byte> rsdp, PhysicalReader read, AcpiInfo& info) noexcept;

/// Finds the \_S5 package in AML. False when it is not there or has an unexpected form.
bool find_s5(std::span<const std::byte> aml, std::uint8_t& a, std::uint8_t& b) noexcept;

} // namespace cero::platform
