// SPDX-License-Identifier: BSD-2-Clause
// Set-up of the log; its use is in arch/api/console.hpp.
#pragma once

#include <arch/api/console.hpp>

namespace cero::platform {

void set_log_level(arch::Level serial) noexcept;
/// Timestamps need the clock; before this they read zero.
void log_clock_ready() noexcept;
/// The line goes out whatever the level, without the lock: for panic and NMI.
void log_emergency(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

} // namespace cero::platform
