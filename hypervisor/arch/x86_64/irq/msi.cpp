// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/irq/msi.hpp>

#include <arch/x86_64/io/port.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <core/lock.hpp>
#include <platform/pci/config.hpp>

namespace cero::arch {
namespace {

using platform::pci_read16;
using platform::pci_read32;
using platform::pci_write16;
using platform::pci_write32;

// [PCI Local Bus 3.0, "MSI Capability and MSI-X Capability Structures"]
constexpr std::uint8_t capability_msi = 5, capability_msix = 0x11;
constexpr std::uint16_t msi_enable = 1, msi_64bit = 0x80, msi_multiple = 0x70;
constexpr std::uint16_t msix_enable = 0x8000, msix_mask_all = 0x4000, msix_size_mask = 0x7ff;
constexpr std::uint32_t msix_entry_masked = 1;
constexpr std::uint32_t message_base = 0xfee00000;

struct MappedTable {
    std::uint64_t physical, address;
};
constexpr unsigned max_tables = 64;
MappedTable tables[max_tables]; ///< pages of MSI-X tables; they stay mapped
unsigned table_count;
constinit Spinlock<LockRank::irq_line> table_lock;

std::uint64_t map_table_page(std::uint64_t physical) noexcept {
    const std::uint64_t page = physical & ~4095ull;
    const LockGuard guard{table_lock};
    for (unsigned n = 0; n < table_count; ++n)
        if (tables[n].physical == page) return tables[n].address + (physical - page);
    if (table_count == max_tables) return 0;
    const std::uint64_t address = map_device(page, 4096, false);
    if (address != 0) tables[table_count++] = {page, address};
    return address == 0 ? 0 : address + (physical - page);
}

std::uint8_t find_capability(PciAddress at, std::uint8_t id) noexcept {
    constexpr std::uint16_t status_has_list = 0x10;
    if ((pci_read16(at, 6) & status_has_list) == 0) return 0;
    auto offset = static_cast<std::uint8_t>(pci_read16(at, 0x34) & 0xfc);
    for (unsigned tries = 0; offset != 0 && tries < 48; ++tries) {
        const std::uint16_t header = pci_read16(at, offset);
        if ((header & 0xff) == id) return offset;
        offset = static_cast<std::uint8_t>(header >> 8 & 0xfc);
    }
    return 0;
}

/// Physical address of a memory BAR; 0 when it is none.
std::uint64_t memory_bar(PciAddress at, unsigned index) noexcept {
    const auto offset = static_cast<std::uint16_t>(0x10 + index * 4);
    const std::uint32_t low = pci_read32(at, offset);
    if (index > 5 || (low & 1) != 0) return 0;
    const bool wide = (low & 6) == 4 && index < 5;
    const std::uint64_t high = wide ? pci_read32(at, static_cast<std::uint16_t>(offset + 4)) : 0;
    return (high << 32 | low) & ~0xfull;
}

Result<MsiTarget> claim_msix(PciAddress at, std::uint32_t entry, std::uint64_t table) noexcept {
    const std::uint8_t capability = find_capability(at, capability_msix);
    if (capability == 0) return Errno::nodev;
    const auto offset_of = [&](unsigned n) { return static_cast<std::uint16_t>(capability + n); };
    const std::uint16_t control = pci_read16(at, offset_of(2));
    if (entry > (control & msix_size_mask)) return Errno::inval;
    const std::uint32_t where = pci_read32(at, offset_of(4));
    const std::uint64_t base = memory_bar(at, where & 7) + (where & ~7u);
    // The caller's idea of the table is taken as a claim only: what counts is the device's own
    // word.
    if ((table & ~4095ull) != (base & ~4095ull)) return Errno::inval;
    const std::uint64_t address = map_table_page(base + entry * 16ull);
    if (address == 0) return Errno::nomem;
    pci_write16(at, offset_of(2), static_cast<std::uint16_t>((control | msix_enable) & ~msix_mask_all));
    return MsiTarget{at, capability, true, address};
}

} // namespace

Result<MsiTarget> msi_claim(PciAddress at, std::uint32_t entry, std::uint64_t table) noexcept {
    if (pci_read16(at, 0) == 0xffff) return Errno::nodev;
    if (table != 0) return claim_msix(at, entry, table);
    const std::uint8_t capability = find_capability(at, capability_msi);
    if (capability == 0) return Errno::nodev;
    const std::uint16_t control = pci_read16(at, static_cast<std::uint16_t>(capability + 2));
    return MsiTarget{at, capability, (control & msi_64bit) != 0, 0};
}

void msi_write(const MsiTarget& target, unsigned vector, std::uint32_t apic_id) noexcept {
    const std::uint32_t address = message_base | (apic_id & 0xff) << 12;
    if (target.table_entry != 0) {
        mmio_write<std::uint32_t>(target.table_entry + 12, msix_entry_masked);
        mmio_write<std::uint32_t>(target.table_entry, address);
        mmio_write<std::uint32_t>(target.table_entry + 4, 0);
        mmio_write<std::uint32_t>(target.table_entry + 8, vector);
        mmio_write<std::uint32_t>(target.table_entry + 12, 0);
        return;
    }
    const auto offset_of = [&](unsigned n) { return static_cast<std::uint16_t>(target.capability + n); };
    const std::uint16_t control = pci_read16(target.address, offset_of(2));
    pci_write32(target.address, offset_of(4), address);
    if (target.wide) pci_write32(target.address, offset_of(8), 0);
    pci_write16(target.address, offset_of(target.wide ? 12 : 8), static_cast<std::uint16_t>(vector));
    pci_write16(target.address, offset_of(2), static_cast<std::uint16_t>((control & ~msi_multiple) | msi_enable));
}

void msi_clear(const MsiTarget& target) noexcept {
    if (target.table_entry != 0) {
        mmio_write<std::uint32_t>(target.table_entry + 12, msix_entry_masked);
        return;
    }
    const auto control = static_cast<std::uint16_t>(target.capability + 2);
    pci_write16(target.address, control, static_cast<std::uint16_t>(pci_read16(target.address, control) & ~msi_enable));
}

} // namespace cero::arch
