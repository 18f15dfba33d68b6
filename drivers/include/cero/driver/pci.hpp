// SPDX-License-Identifier: BSD-2-Clause
// PCI: functions found at boot, their registers and BARs, their interrupts, and the drivers that
// claim them.
#pragma once

#include <cero/lib/intrusive_list.hpp>
#include <cero/lib/result.hpp>

#include <cstddef>
#include <cstdint>

namespace drivers {

using cero::Errno;
using cero::ListLink;
using cero::Result;
using cero::Status;

struct PciAddress {
    std::uint8_t bus{};
    std::uint8_t device{};
    std::uint8_t function{};
    [[nodiscard]] constexpr std::uint8_t devfn() const noexcept {
        return static_cast<std::uint8_t>(device << 3 | function);
    }
};

struct PciBar {
    std::uint64_t address{}; ///< machine address or port
    std::uint64_t size{};    ///< 0: not implemented
    bool is_io{};
    bool is_prefetchable{};
};

using InterruptHandler = void (*)(void* argument); ///< event context

/// One PCI function. Objects live for ever (no PCI hot plug yet).
class PciDevice {
public:
    explicit PciDevice(PciAddress where) noexcept : address{where} {}

    [[nodiscard]] std::uint8_t read8(std::uint16_t offset) const noexcept;
    [[nodiscard]] std::uint16_t read16(std::uint16_t offset) const noexcept;
    [[nodiscard]] std::uint32_t read32(std::uint16_t offset) const noexcept;
    void write8(std::uint16_t offset, std::uint8_t value) noexcept;
    void write16(std::uint16_t offset, std::uint16_t value) noexcept;
    void write32(std::uint16_t offset, std::uint32_t value) noexcept;

    /// Offset of the first capability with this id after `after` (0: from the start), or 0.
    [[nodiscard]] std::uint8_t find_capability(std::uint8_t id,
                                               std::uint8_t after = 0) const noexcept;
    /// Maps `length` bytes at `offset` of a memory BAR, uncached; kernel virtual address.
    [[nodiscard]] Result<void*> map_bar(unsigned index, std::uint64_t offset, std::size_t length);
    void enable_memory_and_bus_master() noexcept;

    /// Routes `count` MSI-X entries (0, 1, ...) to the handlers; all or nothing. nosys: no MSI-X
    /// here.
    [[nodiscard]] Status enable_msix(unsigned count, const InterruptHandler* handlers,
                                     void* const* arguments);
    /// The shared level interrupt of the function's INTx pin.
    [[nodiscard]] Status enable_intx(InterruptHandler handler, void* argument);
    void disable_interrupts() noexcept;

    const PciAddress address;
    std::uint16_t vendor{};
    std::uint16_t product{};
    std::uint16_t subsystem{};
    std::uint32_t class_code{}; ///< class, subclass, programming interface
    PciBar bars[6]{};
    ListLink link{};

private:
    struct Vector;
    Vector* vectors_{};
    unsigned vector_count_{};
};

/// A driver for some functions. Registered by PciDriverRegistration at initcall time, before
/// enumeration.
struct PciDriver {
    const char* name;
    bool (*matches)(const PciDevice& device);
    Status (*probe)(PciDevice& device); ///< thread context
    ListLink link{};
};

void register_pci_driver(PciDriver& driver) noexcept;

} // namespace drivers
