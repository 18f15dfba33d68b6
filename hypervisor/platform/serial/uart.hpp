// SPDX-License-Identifier: BSD-2-Clause
// 16550 UART: polled output, interrupt-driven input into a ring.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cero::platform::uart {

/// COM1 or COM2 (number 1 or 2). False when no UART answers.
bool open(unsigned number, std::uint32_t baud) noexcept;
[[nodiscard]] bool is_open() noexcept;
void put(char c) noexcept;
/// Drains the receiver into the input ring; true when something came in. From the interrupt handler
/// or a poll.
bool receive() noexcept;
[[nodiscard]] std::size_t take(char* out, std::size_t bytes) noexcept;
/// Switches the receive interrupt on. Returns the ISA interrupt number.
std::uint8_t enable_interrupt() noexcept;
[[nodiscard]] bool owns_port(std::uint16_t port) noexcept;

} // namespace cero::platform::uart
