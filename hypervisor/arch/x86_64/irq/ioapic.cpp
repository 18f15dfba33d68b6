// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/irq/ioapic.hpp>

#include <arch/x86_64/io/port.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <core/lock.hpp>

namespace cero::arch::ioapic {
namespace {

struct Chip {
    std::uint64_t page;
    std::uint32_t gsi_base, pins;
};
Chip chips[platform::AcpiInfo::max_ioapics];
unsigned chip_count;
constinit Spinlock<LockRank::irq_chip> lock; // select and data are two accesses

// [82093AA data sheet, "Register Description"]
constexpr std::uint32_t reg_version = 1, reg_redirection = 0x10;
constexpr std::uint64_t select_offset = 0, data_offset = 0x10;
constexpr std::uint32_t entry_masked = 1u << 16, entry_level = 1u << 15, entry_low = 1u << 13;

std::uint32_t read(const Chip& chip, std::uint32_t reg) noexcept {
    mmio_write<std::uint32_t>(chip.page + select_offset, reg);
    return mmio_read<std::uint32_t>(chip.page + data_offset);
}
void write(const Chip& chip, std::uint32_t reg, std::uint32_t value) noexcept {
    mmio_write<std::uint32_t>(chip.page + select_offset, reg);
    mmio_write<std::uint32_t>(chip.page + data_offset, value);
}
const Chip* find(std::uint32_t gsi) noexcept {
    for (unsigned n = 0; n < chip_count; ++n)
        if (gsi >= chips[n].gsi_base && gsi - chips[n].gsi_base < chips[n].pins) return &chips[n];
    return nullptr;
}

/// The 8259s are moved off the exception vectors and masked for good.
void disable_legacy_pics() noexcept {
    constexpr std::uint16_t master = 0x20, slave = 0xa0;
    out8(master, 0x11);
    out8(slave, 0x11);
    constexpr std::uint8_t words[][2] = {{0x20, 0x28}, {4, 2}, {1, 1}, {0xff, 0xff}}; // vectors, cascade, mode, masks
    for (const auto& [to_master, to_slave] : words) {
        out8(master + 1, to_master);
        out8(slave + 1, to_slave);
    }
}

} // namespace

void init(const platform::AcpiInfo& acpi) noexcept {
    disable_legacy_pics();
    for (unsigned n = 0; n < acpi.ioapic_count; ++n) {
        Chip& chip = chips[chip_count];
        chip.page = map_device(acpi.ioapics[n].address, 0x20, true);
        if (chip.page == 0) continue;
        chip.gsi_base = acpi.ioapics[n].gsi_base;
        chip.pins = (read(chip, reg_version) >> 16 & 0xff) + 1;
        for (std::uint32_t pin = 0; pin < chip.pins; ++pin) write(chip, reg_redirection + pin * 2, entry_masked);
        ++chip_count;
    }
}

std::uint32_t gsi_count() noexcept {
    std::uint32_t end = 0;
    for (unsigned n = 0; n < chip_count; ++n)
        if (chips[n].gsi_base + chips[n].pins > end) end = chips[n].gsi_base + chips[n].pins;
    return end;
}

bool has_pin(std::uint32_t gsi) noexcept { return find(gsi) != nullptr; }

void program(std::uint32_t gsi, unsigned vector, std::uint32_t apic_id, Trigger trigger, Polarity polarity,
             bool masked) noexcept {
    const Chip* chip = find(gsi);
    if (chip == nullptr) return;
    const std::uint32_t entry = vector | (trigger == Trigger::level ? entry_level : 0) |
                                (polarity == Polarity::low ? entry_low : 0) | (masked ? entry_masked : 0);
    const std::uint32_t reg = reg_redirection + (gsi - chip->gsi_base) * 2;
    const LockGuard guard{lock};
    write(*chip, reg, entry_masked);
    write(*chip, reg + 1, apic_id << 24);
    write(*chip, reg, entry);
}

void set_mask(std::uint32_t gsi, bool masked) noexcept {
    const Chip* chip = find(gsi);
    if (chip == nullptr) return;
    const std::uint32_t reg = reg_redirection + (gsi - chip->gsi_base) * 2;
    const LockGuard guard{lock};
    const std::uint32_t entry = read(*chip, reg);
    write(*chip, reg, masked ? entry | entry_masked : entry & ~entry_masked);
}

} // namespace cero::arch::ioapic
