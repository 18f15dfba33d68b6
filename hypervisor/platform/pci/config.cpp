// SPDX-License-Identifier: BSD-2-Clause
#include <platform/pci/config.hpp>

#include <arch/x86_64/io/port.hpp>
#include <core/lock.hpp>

namespace cero::platform {
namespace {

constinit Spinlock<LockRank::irq_chip> lock; // address and data are two accesses
std::uint32_t guest_address;

std::uint32_t address_of(arch::PciAddress at, std::uint16_t offset) noexcept {
    return 0x80000000u | static_cast<std::uint32_t>(at.bus) << 16 | static_cast<std::uint32_t>(at.devfn) << 8 |
           (offset & 0xfcu);
}
std::uint16_t data_port(std::uint16_t offset) noexcept {
    return static_cast<std::uint16_t>(pci_data_port + (offset & 3));
}

} // namespace

std::uint32_t pci_read32(arch::PciAddress at, std::uint16_t offset) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address_of(at, offset));
    return arch::in32(pci_data_port);
}
std::uint16_t pci_read16(arch::PciAddress at, std::uint16_t offset) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address_of(at, offset));
    return arch::in16(data_port(offset));
}
void pci_write32(arch::PciAddress at, std::uint16_t offset, std::uint32_t value) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address_of(at, offset));
    arch::out32(pci_data_port, value);
}
void pci_write16(arch::PciAddress at, std::uint16_t offset, std::uint16_t value) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address_of(at, offset));
    arch::out16(data_port(offset), value);
}

void pci_guest_address_write(std::uint32_t value) noexcept { guest_address = value; }
std::uint32_t pci_guest_address() noexcept { return guest_address; }

std::uint32_t pci_guest_data_read(std::uint16_t port, unsigned bytes) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, guest_address);
    return bytes == 1 ? arch::in8(port) : bytes == 2 ? arch::in16(port) : arch::in32(port);
}
void pci_guest_data_write(std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, guest_address);
    if (bytes == 1)
        arch::out8(port, static_cast<std::uint8_t>(value));
    else if (bytes == 2)
        arch::out16(port, static_cast<std::uint16_t>(value));
    else
        arch::out32(port, value);
}

} // namespace cero::platform
