// SPDX-License-Identifier: BSD-2-Clause
// Device interrupts: IOAPIC pins and message-signalled ones, each with a handler of hv-core's.
#pragma once

#include <core/types.hpp>

#include <cero/lib/result.hpp>

namespace cero::arch {

enum class Trigger : std::uint8_t { edge, level };
enum class Polarity : std::uint8_t { high, low };
using Irq = Strong<struct IrqTag, std::uint32_t>; ///< a routed interrupt
/// Runs with interrupts off on the CPU that took the interrupt.
using IrqHandler = void (*)(std::uint32_t cookie);

[[nodiscard]] std::uint32_t gsi_count() noexcept;
/// Routes an IOAPIC pin, masked. Repeated: changes trigger, polarity and handler. Errno::nodev: no
/// such pin.
[[nodiscard]] Result<Irq> route_gsi(std::uint32_t gsi, Trigger trigger, Polarity polarity, IrqHandler handler,
                                    std::uint32_t cookie) noexcept;

/// As route_gsi(), for the hypervisor's own devices: from then on route_gsi() refuses the pin
/// (busy).
[[nodiscard]] Result<Irq> route_own_gsi(std::uint32_t gsi, Trigger trigger, Polarity polarity,
                                        IrqHandler handler) noexcept;

struct PciAddress {
    std::uint16_t segment;
    std::uint8_t bus;
    std::uint8_t devfn;
};
/// Allocates a vector and programs the function's MSI capability (table == 0) or the given MSI-X
/// entry (table: machine address that the caller claims; checked against the capability). Unmasked.
[[nodiscard]] Result<Irq> allocate_msi(PciAddress address, std::uint32_t entry, std::uint64_t table, IrqHandler handler,
                                       std::uint32_t cookie) noexcept;
/// Masks and forgets; also takes the message out of the device.
void release_irq(Irq irq) noexcept;

/// Level interrupts are masked by the handler's entry until eoi(); edge ones need no eoi().
void irq_eoi(Irq irq) noexcept;
void irq_mask(Irq irq) noexcept;
void irq_unmask(Irq irq) noexcept;
[[nodiscard]] bool irq_needs_eoi(Irq irq) noexcept;
/// Moves delivery to a CPU (of the vCPU that the pirq is bound to).
void irq_set_affinity(Irq irq, CpuId cpu) noexcept;

} // namespace cero::arch
