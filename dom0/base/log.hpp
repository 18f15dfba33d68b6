// SPDX-License-Identifier: BSD-2-Clause
// Log lines of the services: "program: text" on standard error, which init joins to a file of the
// service's own; it names the file in CERO_LOG.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace cero {

/// Names the program in every later line. The text must live for ever.
void set_log_name(std::string_view name) noexcept;
/// A file that CERO_LOG names begins anew when it is large; one older file is kept.
void log_line(std::string_view text) noexcept;

template <typename... Args>
void log(fmt::format_string<Args...> format, Args&&... args) {
    log_line(fmt::format(format, std::forward<Args>(args)...));
}

} // namespace cero
