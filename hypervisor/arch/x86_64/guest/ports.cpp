// SPDX-License-Identifier: BSD-2-Clause
// Guests' port accesses: real ones for those with the right, except ports that the hypervisor
// drives itself.
#include <arch/api/hooks.hpp>
#include <arch/x86_64/guest/policy.hpp>
#include <arch/x86_64/io/port.hpp>
#include <core/domain/domain.hpp>
#include <platform/pci/config.hpp>
#include <platform/serial/uart.hpp>

namespace cero::arch {
namespace {

struct PortRange {
    std::uint16_t first, last;
};
/// Interrupt controllers and the interval timer.
constexpr PortRange hypervisor_ports[] = {{0x20, 0x21}, {0xa0, 0xa1}, {0x40, 0x43}, {0x4d0, 0x4d1}};

bool touches_hypervisor(std::uint16_t port, unsigned bytes) noexcept {
    for (unsigned n = 0; n < bytes; ++n) {
        const auto at = static_cast<std::uint16_t>(port + n);
        for (const PortRange& range : hypervisor_ports)
            if (at >= range.first && at <= range.last) return true;
        if (platform::uart::owns_port(at)) return true;
    }
    return false;
}

bool is_pci_data(std::uint16_t port) noexcept {
    return port >= platform::pci_data_port && port < platform::pci_data_port + 4;
}

bool may_access(const Vcpu& vcpu, std::uint16_t port, unsigned bytes) noexcept {
    return core::may_use_ports(vcpu, port, bytes) && !touches_hypervisor(port, bytes);
}

} // namespace

std::uint32_t guest_read_port(const Vcpu& vcpu, std::uint16_t port, unsigned bytes) noexcept {
    if (!may_access(vcpu, port, bytes)) return ~0u;
    if (port == platform::pci_address_port && bytes == 4) return platform::pci_guest_address();
    if (is_pci_data(port)) return platform::pci_guest_data_read(port, bytes);
    return in_port(port, bytes);
}

void guest_write_port(const Vcpu& vcpu, std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept {
    if (!may_access(vcpu, port, bytes)) return;
    if (port == platform::pci_address_port && bytes == 4) return platform::pci_guest_address_write(value);
    if (is_pci_data(port)) return platform::pci_guest_data_write(port, bytes, value);
    out_port(port, bytes, value);
}

} // namespace cero::arch
