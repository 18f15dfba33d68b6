// SPDX-License-Identifier: BSD-2-Clause
#include <platform/serial/uart.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/irq.hpp>
#include <arch/x86_64/io/port.hpp>
#include <platform/acpi/machine.hpp>

namespace cero::platform::uart {
namespace {

// Register offsets [16550 data sheet].
constexpr std::uint16_t data = 0, interrupt_enable = 1, fifo_control = 2, line_control = 3, modem_control = 4,
                        line_status = 5, scratch = 7;
constexpr std::uint8_t status_data = 1, status_room = 0x20;
constexpr unsigned port_span = 8;
constexpr std::uint32_t clock = 115200;

std::uint16_t base;
std::uint8_t irq;
constexpr unsigned ring_size = 1024;
char ring[ring_size];
Atomic<std::uint32_t> head, tail; // written by receive() and take()

void reg_write(std::uint16_t offset, std::uint8_t value) noexcept {
    arch::out8(static_cast<std::uint16_t>(base + offset), value);
}
std::uint8_t reg_read(std::uint16_t offset) noexcept { return arch::in8(static_cast<std::uint16_t>(base + offset)); }

} // namespace

bool open(unsigned number, std::uint32_t baud) noexcept {
    base = number == 2 ? 0x2f8 : 0x3f8;
    irq = number == 2 ? 3 : 4;
    reg_write(scratch, 0x5a);
    if (reg_read(scratch) != 0x5a) {
        base = 0;
        return false;
    }
    const std::uint32_t divisor = baud == 0 || baud > clock ? 1 : clock / baud;
    reg_write(interrupt_enable, 0);
    reg_write(line_control, 0x83); // divisor latch, 8n1
    reg_write(data, static_cast<std::uint8_t>(divisor));
    reg_write(interrupt_enable, static_cast<std::uint8_t>(divisor >> 8));
    reg_write(line_control, 0x03);
    reg_write(fifo_control, 0x07);
    reg_write(modem_control, 0x0b); // DTR, RTS, OUT2: the interrupt line is driven
    return true;
}

void put(char c) noexcept {
    if (base == 0) return;
    for (unsigned tries = 0; (reg_read(line_status) & status_room) == 0 && tries < 100000; ++tries)
        __builtin_ia32_pause();
    reg_write(data, static_cast<std::uint8_t>(c));
}

namespace {
/// Drains the receiver into the input ring.
void receive(std::uint32_t) noexcept {
    bool any = false;
    while (base != 0 && (reg_read(line_status) & status_data) != 0) {
        const auto c = static_cast<char>(reg_read(data));
        const std::uint32_t at = head.load(Order::relaxed);
        if (at - tail.load(Order::acquire) == ring_size) continue; // full: the byte is lost, as on a wire
        ring[at % ring_size] = c;
        head.store(at + 1, Order::release);
        any = true;
    }
    if (any) arch::raise_softirq(arch::Softirq::console);
}
} // namespace

std::size_t take(char* out, std::size_t bytes) noexcept {
    std::size_t count = 0;
    std::uint32_t at = tail.load(Order::relaxed);
    for (; count < bytes && at != head.load(Order::acquire); ++at) out[count++] = ring[at % ring_size];
    tail.store(at, Order::release);
    return count;
}

void start_input() noexcept {
    if (base == 0) return;
    reg_write(interrupt_enable, 1);
    AcpiInfo::Override line{irq, false, false, irq};
    const AcpiInfo& acpi = acpi_info();
    for (unsigned n = 0; n < acpi.override_count; ++n)
        if (acpi.overrides[n].irq == irq) line = acpi.overrides[n];
    const auto routed = arch::route_own_gsi(line.gsi, line.level ? arch::Trigger::level : arch::Trigger::edge,
                                            line.low ? arch::Polarity::low : arch::Polarity::high, &receive);
    if (routed) arch::irq_unmask(*routed);
}

bool owns_port(std::uint16_t port) noexcept { return base != 0 && port >= base && port < base + port_span; }

} // namespace cero::platform::uart
