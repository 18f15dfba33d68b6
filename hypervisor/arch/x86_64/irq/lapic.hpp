// SPDX-License-Identifier: BSD-2-Clause
// Local APIC: xAPIC through its page, x2APIC through MSRs when the CPU has it.
#pragma once

#include <cstdint>

namespace cero::arch {

namespace vector {
inline constexpr unsigned first_device = 0x30, last_device = 0xef, reschedule = 0xfb, message = 0xfc, timer = 0xfd,
                          error = 0xfe, spurious = 0xff, int80 = 0x80; ///< the last one is of guests' system calls
} // namespace vector

namespace lapic {

/// Boot CPU: chooses the mode and maps the registers.
void init(std::uint64_t address, bool allow_x2apic) noexcept;
/// Every CPU: switches its APIC on.
void enable() noexcept;
[[nodiscard]] std::uint32_t id() noexcept;
void eoi() noexcept;
void send_ipi(std::uint32_t apic_id, unsigned vector) noexcept;
void send_nmi(std::uint32_t apic_id) noexcept;
void send_init(std::uint32_t apic_id) noexcept;
void send_startup(std::uint32_t apic_id, unsigned page) noexcept;

void timer_mode_oneshot() noexcept;
void timer_mode_deadline() noexcept;
void set_timer_count(std::uint32_t ticks) noexcept;
[[nodiscard]] std::uint32_t timer_count() noexcept;

} // namespace lapic
} // namespace cero::arch
