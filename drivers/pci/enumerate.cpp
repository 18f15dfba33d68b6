// SPDX-License-Identifier: BSD-2-Clause
// Finds the PCI functions at boot, tells the hypervisor about each, and offers them to the drivers.
#include "registers.hpp"

#include <cero/abi/hypercall.h>
#include <cero/abi/physdev.h>
#include <cero/driver/pci.hpp>
#include <kernel/boot.hpp>
#include <kernel/hypercall.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>

#include <new>

namespace drivers {

namespace {

constexpr std::uint8_t header_multifunction = 0x80;
constexpr std::uint8_t header_bridge = 1;
constexpr std::uint32_t class_pci_bridge = 0x0604;
constexpr unsigned max_bus_depth = 8;

constinit cero::IntrusiveList<PciDriver, &PciDriver::link> driver_list;
constinit cero::IntrusiveList<PciDevice, &PciDevice::link> devices;

/// Sizes the BARs with decoding off, as their values are no addresses meanwhile.
void read_bars(PciDevice& device, unsigned count) {
    const std::uint16_t command = device.read16(pci::reg_command);
    device.write16(pci::reg_command,
                   static_cast<std::uint16_t>(command & ~(pci::command_io | pci::command_memory)));
    for (unsigned i = 0; i < count; ++i) {
        const auto offset = static_cast<std::uint16_t>(pci::reg_bar0 + 4 * i);
        const std::uint32_t low = device.read32(offset);
        device.write32(offset, ~0u);
        const std::uint32_t mask_low = device.read32(offset);
        device.write32(offset, low);
        PciBar& bar = device.bars[i];
        if (mask_low == 0)
            continue;
        if ((low & 1) != 0) {
            bar = {low & ~3u, (~(mask_low & ~3u) & 0xffffu) + 1, true, false};
            continue;
        }
        bar.is_prefetchable = (low & 8) != 0;
        bar.address = low & ~15u;
        std::uint64_t mask = 0xffff'ffff'0000'0000u | (mask_low & ~15u);
        if ((low & 6) == 4 && i + 1 < count) {
            const auto next = static_cast<std::uint16_t>(offset + 4);
            const std::uint32_t high = device.read32(next);
            device.write32(next, ~0u);
            mask = std::uint64_t{device.read32(next)} << 32 | (mask_low & ~15u);
            device.write32(next, high);
            bar.address |= std::uint64_t{high} << 32;
            ++i; // the next register is this BAR's upper half
        }
        bar.size = ~mask + 1;
    }
    device.write16(pci::reg_command, command);
}

void scan_bus(std::uint8_t bus, unsigned depth);

void found(PciDevice& device, unsigned depth) {
    const std::uint32_t id = device.read32(pci::reg_vendor);
    device.vendor = static_cast<std::uint16_t>(id);
    device.product = static_cast<std::uint16_t>(id >> 16);
    device.class_code = device.read32(pci::reg_class) >> 8;
    device.subsystem = device.read16(pci::reg_subsystem);
    const bool bridge = (device.read8(pci::reg_header_type) & 0x7f) == header_bridge;
    read_bars(device, bridge ? 2 : 6);
    const cero_physdev_pci_device_add add{0, device.address.bus, device.address.devfn(), 0, {}, 0};
    const long added = kernel::hypercall(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_pci_device_add,
                                         kernel::by_address(&add));
    if (added < 0)
        kernel::printk(kernel::Level::debug, "pci: hypervisor answers %ld for the next device\n",
                       added);
    kernel::printk(kernel::Level::info, "pci: %02x:%02x.%x %04x:%04x class %06x\n",
                   device.address.bus, device.address.device, device.address.function,
                   device.vendor, device.product, device.class_code);
    devices.push_back(device);
    if (bridge && device.class_code >> 8 == class_pci_bridge && depth < max_bus_depth) {
        const std::uint8_t secondary = device.read8(pci::reg_secondary_bus);
        if (secondary > device.address.bus)
            scan_bus(secondary, depth + 1);
    }
}

void scan_bus(std::uint8_t bus, unsigned depth) {
    for (unsigned slot = 0; slot < 32; ++slot) {
        unsigned functions = 1;
        for (unsigned function = 0; function < functions; ++function) {
            const PciDevice probe{PciAddress{bus, static_cast<std::uint8_t>(slot),
                                             static_cast<std::uint8_t>(function)}};
            if (probe.read16(pci::reg_vendor) == 0xffff)
                continue;
            if (function == 0 && (probe.read8(pci::reg_header_type) & header_multifunction) != 0)
                functions = 8;
            auto* device = new (std::nothrow) PciDevice{probe.address};
            if (device != nullptr)
                found(*device, depth);
        }
    }
}

void probe_drivers(PciDevice& device) {
    for (PciDriver& driver : driver_list) {
        if (!driver.matches(device))
            continue;
        const Status probed = driver.probe(device);
        if (!probed)
            kernel::printk(kernel::Level::error, "pci: %02x:%02x.%x: %s fails (errno %d)\n",
                           device.address.bus, device.address.device, device.address.function,
                           driver.name, static_cast<int>(probed.error()));
        return;
    }
}

void start_pci() {
    if (!kernel::is_privileged())
        return;
    // Port access needs an I/O privilege level: level 1 is what the hypervisor asks of a guest
    // kernel.
    struct {
        std::uint32_t level;
    } const iopl{1};
    kernel::hypercall(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_set_iopl,
                      kernel::by_address(&iopl));
    scan_bus(0, 0);
    for (PciDevice& device : devices)
        probe_drivers(device);
}
CERO_INITCALL(device, start_pci);

} // namespace

void register_pci_driver(PciDriver& driver) noexcept {
    driver_list.push_back(driver);
}

} // namespace drivers
