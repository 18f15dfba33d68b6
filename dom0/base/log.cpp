// SPDX-License-Identifier: BSD-2-Clause
// Log lines on standard error, one write each so that lines of several services do not mix.
#include "base/log.hpp"

#include "base/file.hpp"

#include <string>

namespace cero {

namespace {
std::string_view program = "cero";
}

void set_log_name(std::string_view name) noexcept {
    program = name;
}

void log_line(std::string_view text) noexcept {
    try {
        (void)write_all(2, fmt::format("{}: {}\n", program, text));
    } catch (...) { // out of memory: losing a log line is all that may happen
    }
}

} // namespace cero
