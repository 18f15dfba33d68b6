// SPDX-License-Identifier: BSD-2-Clause
// Log lines of the services: "program: text" on standard error, which init joins to the console
// log.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace cero {

/// Names the program in every later line. The text must live for ever.
void set_log_name(std::string_view name) noexcept;
void log_line(std::string_view text) noexcept;

template <typename... Args>
void log(fmt::format_string<Args...> format, Args&&... args) {
    log_line(fmt::format(format, std::forward<Args>(args)...));
}

} // namespace cero
