// SPDX-License-Identifier: BSD-2-Clause
// The log (ring and serial line), panic, and the serial line as the control domain's console.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

enum class Level : std::uint8_t { error, warning, info, debug };
/// One line without the newline. Kept in the ring; on the serial line when `level` passes loglvl.
void log(Level level, const char* format, ...) noexcept __attribute__((format(printf, 2, 3)));
[[noreturn]] void panic(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

/// Bytes as they are (console_io write). Not kept in the ring: it is the hypervisor's log alone.
void console_write(const char* text, std::size_t bytes) noexcept;
/// Takes what was typed; returns the number of bytes.
[[nodiscard]] std::size_t console_read(char* out, std::size_t bytes) noexcept;
/// Copies from the log ring, from `index` (a running byte count; advanced past what is copied and
/// past what is lost). Returns the number of bytes.
std::size_t log_read(std::uint64_t& index, char* out, std::size_t bytes) noexcept;
void log_clear() noexcept;

} // namespace cero::arch

/// Our own broken invariant; guest input never reaches it.
#define CERO_ASSERT(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) [[unlikely]]                                                                                 \
            ::cero::arch::panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition);                        \
    } while (false)
