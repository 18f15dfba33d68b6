// SPDX-License-Identifier: BSD-2-Clause
// Message-signalled interrupts: the MSI capability, or one entry of an MSI-X table.
#pragma once

#include <arch/api/irq.hpp>

namespace cero::arch {

struct MsiTarget {
    PciAddress address;
    std::uint8_t capability;   ///< offset in configuration space
    bool wide;                 ///< 64-bit address form of MSI
    std::uint64_t table_entry; ///< virtual address of the MSI-X entry; 0 = MSI
};

/// Finds the capability (and maps the table page). Errno::nodev without one, inval for an entry
/// beyond it.
[[nodiscard]] Result<MsiTarget> msi_claim(PciAddress address, std::uint32_t entry, std::uint64_t table) noexcept;
/// Programs and unmasks.
void msi_write(const MsiTarget& target, unsigned vector, std::uint32_t apic_id) noexcept;
/// Masks (MSI-X) or switches off (MSI).
void msi_clear(const MsiTarget& target) noexcept;

} // namespace cero::arch
