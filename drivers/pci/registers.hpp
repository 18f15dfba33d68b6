// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration space: offsets and bits [PCI Local Bus Specification 3.0, chapter 6].
#pragma once

#include <cstdint>

namespace drivers::pci {

inline constexpr std::uint16_t reg_vendor = 0x00;
inline constexpr std::uint16_t reg_product = 0x02;
inline constexpr std::uint16_t reg_command = 0x04;
inline constexpr std::uint16_t reg_status = 0x06;
inline constexpr std::uint16_t reg_class = 0x08;
inline constexpr std::uint16_t reg_header_type = 0x0e;
inline constexpr std::uint16_t reg_bar0 = 0x10;
inline constexpr std::uint16_t reg_secondary_bus = 0x19;
inline constexpr std::uint16_t reg_subsystem = 0x2e;
inline constexpr std::uint16_t reg_capabilities = 0x34;
inline constexpr std::uint16_t reg_interrupt_line = 0x3c;
inline constexpr std::uint16_t reg_interrupt_pin = 0x3d;

inline constexpr std::uint16_t command_io = 1u << 0;
inline constexpr std::uint16_t command_memory = 1u << 1;
inline constexpr std::uint16_t command_bus_master = 1u << 2;
inline constexpr std::uint16_t command_intx_disable = 1u << 10;
inline constexpr std::uint16_t status_capabilities = 1u << 4;

inline constexpr std::uint8_t capability_msi = 0x05;
inline constexpr std::uint8_t capability_vendor = 0x09;
inline constexpr std::uint8_t capability_msix = 0x11;

inline constexpr std::uint16_t msix_control = 2; ///< offset in the capability
inline constexpr std::uint16_t msix_table = 4;   ///< offset in the capability: BAR in 2:0
inline constexpr std::uint16_t msix_enable = 1u << 15;
inline constexpr std::uint16_t msix_mask_all = 1u << 14;
inline constexpr std::uint16_t msix_size_mask = 0x7ff; ///< entries - 1

} // namespace drivers::pci
