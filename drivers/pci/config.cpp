// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration access (mechanism #1; the hypervisor emulates the ports), capabilities and BAR
// maps.
#include "registers.hpp"

#include <cero/driver/pci.hpp>
#include <kernel/memory.hpp>
#include <kernel/port_io.hpp>
#include <kernel/sync.hpp>

namespace drivers {

namespace {

using kernel::in32;
using kernel::out16;
using kernel::out32;
using kernel::out8;

constexpr std::uint16_t port_address = 0xcf8;
constexpr std::uint16_t port_data = 0xcfc;
constexpr unsigned max_capabilities = 48; // a chain in 192 bytes cannot be longer

constinit kernel::Spinlock ports;

void select(PciAddress address, std::uint16_t offset) noexcept {
    out32(port_address, 0x8000'0000u | static_cast<std::uint32_t>(address.bus) << 16 |
                            static_cast<std::uint32_t>(address.devfn()) << 8 | (offset & 0xfcu));
}

} // namespace

std::uint32_t PciDevice::read32(std::uint16_t offset) const noexcept {
    kernel::SpinGuard guard{ports};
    select(address, offset);
    return in32(port_data);
}

std::uint16_t PciDevice::read16(std::uint16_t offset) const noexcept {
    return static_cast<std::uint16_t>(read32(offset) >> 8 * (offset & 2));
}

std::uint8_t PciDevice::read8(std::uint16_t offset) const noexcept {
    return static_cast<std::uint8_t>(read32(offset) >> 8 * (offset & 3));
}

void PciDevice::write32(std::uint16_t offset, std::uint32_t value) noexcept {
    kernel::SpinGuard guard{ports};
    select(address, offset);
    out32(port_data, value);
}

void PciDevice::write16(std::uint16_t offset, std::uint16_t value) noexcept {
    kernel::SpinGuard guard{ports};
    select(address, offset);
    out16(static_cast<std::uint16_t>(port_data + (offset & 2)), value);
}

void PciDevice::write8(std::uint16_t offset, std::uint8_t value) noexcept {
    kernel::SpinGuard guard{ports};
    select(address, offset);
    out8(static_cast<std::uint16_t>(port_data + (offset & 3)), value);
}

std::uint8_t PciDevice::find_capability(std::uint8_t id, std::uint8_t after) const noexcept {
    if ((read16(pci::reg_status) & pci::status_capabilities) == 0)
        return 0;
    std::uint8_t at =
        after == 0 ? read8(pci::reg_capabilities) : read8(static_cast<std::uint16_t>(after + 1));
    for (unsigned i = 0; i < max_capabilities && (at & 0xfc) >= 0x40; ++i) {
        at &= 0xfc;
        if (read8(at) == id)
            return at;
        at = read8(static_cast<std::uint16_t>(at + 1));
    }
    return 0;
}

Result<void*> PciDevice::map_bar(unsigned index, std::uint64_t offset, std::size_t length) {
    if (index >= 6 || bars[index].is_io || offset > bars[index].size ||
        length > bars[index].size - offset || length == 0)
        return Errno::inval;
    const std::uint64_t start = bars[index].address + offset;
    const std::uint64_t first_page = kernel::page_down(start);
    void* mapped = TRY(kernel::map_machine(
        first_page, static_cast<std::size_t>(kernel::page_up(start + length) - first_page),
        kernel::Cache::uncached));
    return static_cast<void*>(static_cast<std::byte*>(mapped) + (start - first_page));
}

void PciDevice::enable_memory_and_bus_master() noexcept {
    write16(pci::reg_command,
            static_cast<std::uint16_t>(read16(pci::reg_command) | pci::command_memory |
                                       pci::command_bus_master));
}

} // namespace drivers
