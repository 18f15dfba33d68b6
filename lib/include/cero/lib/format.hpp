// SPDX-License-Identifier: BSD-2-Clause
// Formatting for logs: the printf subset %d %i %u %x %X %c %s %p %% with widths, 0, -, '.', '*', l,
// ll, z, h.
#pragma once

#include <cstdarg>
#include <cstddef>

namespace cero {

/// Writes at most `size` bytes including the NUL; returns the length that the whole text has
/// (without NUL).
int format_to(char* out, std::size_t size, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
int vformat_to(char* out, std::size_t size, const char* format, va_list args)
    __attribute__((format(printf, 3, 0)));

} // namespace cero
