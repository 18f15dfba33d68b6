// SPDX-License-Identifier: BSD-2-Clause
// Kernel log: a ring kept for /proc/kmsg and `dmesg`, echoed to the console; and the end of it all.
#pragma once

#include <kernel/types.hpp>

#include <cstdarg>

namespace kernel {

enum class Level : unsigned char { error, warning, notice, info, debug };

/// Any context. Appends one message; a newline is added where the text has none.
void printk(Level level, const char* format, ...) __attribute__((format(printf, 2, 3)));
void vprintk(Level level, const char* format, va_list args) __attribute__((format(printf, 2, 0)));

/// Reports and stops the domain with SHUTDOWN_crash.
[[noreturn]] void panic(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Messages above this level stay in the ring only.
void set_console_level(Level level) noexcept;

/// Copies log text from absolute position `from` on; returns the bytes copied and moves `from`
/// behind them (past text that the ring has lost meanwhile).
std::size_t read_log(std::uint64_t& from, char* out, std::size_t size) noexcept;

/// Position behind the newest byte.
[[nodiscard]] std::uint64_t log_end() noexcept;

#define KERNEL_ASSERT(condition)                                                                   \
    (__builtin_expect(!!(condition), 1)                                                            \
         ? static_cast<void>(0)                                                                    \
         : ::kernel::panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))

} // namespace kernel
