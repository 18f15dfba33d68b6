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
std::uint32_t read(std::uint32_t address, std::uint16_t port, unsigned bytes) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address);
    return arch::in_port(port, bytes);
}
void write(std::uint32_t address, std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept {
    const LockGuard guard{lock};
    arch::out32(pci_address_port, address);
    arch::out_port(port, bytes, value);
}

} // namespace

std::uint32_t pci_read32(arch::PciAddress at, std::uint16_t offset) noexcept {
    return read(address_of(at, offset), pci_data_port, 4);
}
std::uint16_t pci_read16(arch::PciAddress at, std::uint16_t offset) noexcept {
    return static_cast<std::uint16_t>(read(address_of(at, offset), data_port(offset), 2));
}
void pci_write32(arch::PciAddress at, std::uint16_t offset, std::uint32_t value) noexcept {
    write(address_of(at, offset), pci_data_port, 4, value);
}
void pci_write16(arch::PciAddress at, std::uint16_t offset, std::uint16_t value) noexcept {
    write(address_of(at, offset), data_port(offset), 2, value);
}

void pci_guest_address_write(std::uint32_t value) noexcept { guest_address = value; }
std::uint32_t pci_guest_address() noexcept { return guest_address; }

std::uint32_t pci_guest_data_read(std::uint16_t port, unsigned bytes) noexcept {
    return read(guest_address, port, bytes);
}
void pci_guest_data_write(std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept {
    write(guest_address, port, bytes, value);
}

} // namespace cero::platform
