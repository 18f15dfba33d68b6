// SPDX-License-Identifier: BSD-2-Clause
// PCI interrupts through the hypervisor: a physical interrupt becomes a pirq, a pirq an event
// channel.
#include "registers.hpp"

#include <cero/abi/hypercall.h>
#include <cero/abi/physdev.h>
#include <cero/driver/pci.hpp>
#include <kernel/event.hpp>
#include <kernel/hypercall.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>

#include <new>

namespace drivers {

/// One MSI-X vector of a device.
struct PciDevice::Vector {
    InterruptHandler handler{};
    void* argument{};
    kernel::event::Port port{};
    std::int32_t pirq{-1};
};

namespace {

long physdev(unsigned operation, const void* argument) noexcept {
    return kernel::hypercall(CERO_HYPERCALL_physdev_op, operation, kernel::by_address(argument));
}

void unmap_pirq(std::int32_t pirq) noexcept {
    const cero_physdev_unmap_pirq unmap{CERO_DOMID_SELF, 0, pirq};
    physdev(CERO_PHYSDEVOP_unmap_pirq, &unmap);
}

/// A level-triggered line and the handlers that share it. Lines are never given back.
struct SharedLine {
    struct User {
        InterruptHandler handler;
        void* argument;
    };
    std::uint32_t gsi{};
    kernel::event::Port port{};
    unsigned user_count{};
    User users[8]{};
};
constinit SharedLine lines[16];
constinit unsigned line_count = 0;

void line_event(kernel::event::Port, void* context) {
    auto& line = *static_cast<SharedLine*>(context);
    for (unsigned i = 0; i < line.user_count; ++i)
        line.users[i].handler(line.users[i].argument);
    struct {
        std::uint32_t irq;
    } const eoi{line.gsi};
    physdev(CERO_PHYSDEVOP_eoi, &eoi);
}

Result<SharedLine*> line_of(std::uint32_t gsi) {
    for (unsigned i = 0; i < line_count; ++i)
        if (lines[i].gsi == gsi)
            return &lines[i];
    if (line_count == sizeof lines / sizeof lines[0])
        return Errno::nospc;
    // What firmware routes PCI pins to is level triggered; on PCs without an I/O APIC table of our
    // own the hypervisor keeps the polarity that ACPI gives.
    const cero_physdev_setup_gsi setup{static_cast<std::int32_t>(gsi), 1, 1, 0};
    physdev(CERO_PHYSDEVOP_setup_gsi, &setup);
    cero_physdev_map_pirq map{};
    map.domid = CERO_DOMID_SELF;
    map.type = CERO_MAP_PIRQ_TYPE_GSI;
    map.index = static_cast<std::int32_t>(gsi);
    map.pirq = static_cast<std::int32_t>(gsi);
    const long mapped = physdev(CERO_PHYSDEVOP_map_pirq, &map);
    if (mapped < 0)
        return kernel::errno_of(mapped);
    SharedLine& line = lines[line_count];
    line.gsi = gsi;
    line.port = TRY(kernel::event::bind_pirq(static_cast<std::uint32_t>(map.pirq), true));
    ++line_count;
    return &line;
}

} // namespace

Status PciDevice::enable_msix(unsigned count, const InterruptHandler* handlers,
                              void* const* arguments) {
    const std::uint8_t capability = find_capability(pci::capability_msix);
    if (capability == 0)
        return Errno::nosys;
    const auto control_at = static_cast<std::uint16_t>(capability + pci::msix_control);
    const std::uint16_t control = read16(control_at);
    if (count > (control & pci::msix_size_mask) + 1u)
        return Errno::nospc;
    const std::uint32_t table = read32(static_cast<std::uint16_t>(capability + pci::msix_table));
    const unsigned table_bar = table & 7;
    if (table_bar >= 6 || bars[table_bar].size == 0)
        return Errno::nosys;
    vectors_ = new (std::nothrow) Vector[count];
    if (vectors_ == nullptr)
        return Errno::nomem;
    vector_count_ = count;
    write16(control_at,
            static_cast<std::uint16_t>(control | pci::msix_enable | pci::msix_mask_all));
    const Status mapped = [&]() -> Status {
        for (unsigned i = 0; i < count; ++i) {
            cero_physdev_map_pirq map{};
            map.domid = CERO_DOMID_SELF;
            map.type = CERO_MAP_PIRQ_TYPE_MSI_SEG;
            map.index = -1;
            map.pirq = -1;
            map.bus = address.bus;
            map.devfn = address.devfn();
            map.entry_nr = static_cast<std::int32_t>(i);
            map.table_base = bars[table_bar].address;
            const long result = physdev(CERO_PHYSDEVOP_map_pirq, &map);
            if (result < 0)
                return kernel::errno_of(result);
            vectors_[i].pirq = map.pirq;
            vectors_[i].port =
                TRY(kernel::event::bind_pirq(static_cast<std::uint32_t>(map.pirq), false));
            vectors_[i].handler = handlers[i];
            vectors_[i].argument = arguments[i];
        }
        return {};
    }();
    if (!mapped) {
        disable_interrupts();
        return mapped.error();
    }
    for (unsigned i = 0; i < count; ++i)
        kernel::event::set_handler(
            vectors_[i].port,
            [](kernel::event::Port, void* context) {
                const auto& vector = *static_cast<const Vector*>(context);
                vector.handler(vector.argument);
            },
            &vectors_[i]);
    write16(pci::reg_command,
            static_cast<std::uint16_t>(read16(pci::reg_command) | pci::command_intx_disable));
    write16(control_at,
            static_cast<std::uint16_t>((control | pci::msix_enable) & ~pci::msix_mask_all));
    return {};
}

Status PciDevice::enable_intx(InterruptHandler handler, void* argument) {
    const std::uint8_t pin = read8(pci::reg_interrupt_pin);
    const std::uint8_t gsi = read8(pci::reg_interrupt_line);
    if (pin == 0 || gsi == 0 || gsi == 0xff)
        return Errno::nosys;
    SharedLine& line = *TRY(line_of(gsi));
    {
        kernel::EventGuard masked;
        if (line.user_count == sizeof line.users / sizeof line.users[0])
            return Errno::nospc;
        line.users[line.user_count++] = {handler, argument};
    }
    if (line.user_count == 1)
        kernel::event::set_handler(line.port, line_event, &line);
    write16(pci::reg_command,
            static_cast<std::uint16_t>(read16(pci::reg_command) & ~pci::command_intx_disable));
    return {};
}

void PciDevice::disable_interrupts() noexcept {
    if (const std::uint8_t capability = find_capability(pci::capability_msix); capability != 0) {
        const auto control_at = static_cast<std::uint16_t>(capability + pci::msix_control);
        write16(control_at, static_cast<std::uint16_t>(read16(control_at) & ~pci::msix_enable));
    }
    for (unsigned i = 0; i < vector_count_; ++i) {
        if (vectors_[i].port != 0)
            kernel::event::close(vectors_[i].port);
        if (vectors_[i].pirq >= 0)
            unmap_pirq(vectors_[i].pirq);
    }
    delete[] vectors_;
    vectors_ = nullptr;
    vector_count_ = 0;
    write16(pci::reg_command,
            static_cast<std::uint16_t>(read16(pci::reg_command) | pci::command_intx_disable));
}

} // namespace drivers
