// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration space through ports 0xcf8 and 0xcfc. The control domain's accesses to these
// ports are emulated, so that its address and ours never mix.
#pragma once

#include <arch/api/irq.hpp>

namespace cero::platform {

inline constexpr std::uint16_t pci_address_port = 0xcf8, pci_data_port = 0xcfc;

[[nodiscard]] std::uint32_t pci_read32(arch::PciAddress at, std::uint16_t offset) noexcept;
[[nodiscard]] std::uint16_t pci_read16(arch::PciAddress at, std::uint16_t offset) noexcept;
void pci_write32(arch::PciAddress at, std::uint16_t offset, std::uint32_t value) noexcept;
void pci_write16(arch::PciAddress at, std::uint16_t offset, std::uint16_t value) noexcept;

/// The guest's side: a latched address register, and data accesses of 1, 2 or 4 bytes.
void pci_guest_address_write(std::uint32_t value) noexcept;
[[nodiscard]] std::uint32_t pci_guest_address() noexcept;
[[nodiscard]] std::uint32_t pci_guest_data_read(std::uint16_t port, unsigned bytes) noexcept;
void pci_guest_data_write(std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept;

} // namespace cero::platform
