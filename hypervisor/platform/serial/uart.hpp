// SPDX-License-Identifier: BSD-2-Clause
// 16550 UART: polled output, interrupt-driven input into a ring.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cero::platform::uart {

/// COM1 or COM2 (number 1 or 2). False when no UART answers.
bool open(unsigned number, std::uint32_t baud) noexcept;
void put(char c) noexcept;
[[nodiscard]] std::size_t take(char* out, std::size_t bytes) noexcept;
/// Switches the receive interrupt on and routes it. Input raises Softirq::console.
void start_input() noexcept;
[[nodiscard]] bool owns_port(std::uint16_t port) noexcept;

} // namespace cero::platform::uart
