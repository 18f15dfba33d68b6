// SPDX-License-Identifier: BSD-2-Clause
// Error: what dom0's programs throw: which object failed, why, and what the reader can do about it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cero {

/// Exit statuses of every program here, documented in cero(8).
enum class ExitCode : int {
    ok = 0,
    failed = 1,      ///< the operation was tried and failed
    usage = 2,       ///< bad command line or bad configuration; nothing was tried
    not_found = 3,   ///< no such domain, device, path or file
    timed_out = 4,   ///< --timeout passed
    not_control = 5, ///< this is not a control domain, or its services do not run
};

/// One sentence "object: cause", and optionally a remedy on a line of its own.
class Error : public std::runtime_error {
public:
    Error(ExitCode code, std::string what, std::string remedy = {})
        : std::runtime_error{std::move(what)}, code_{code}, remedy_{std::move(remedy)} {}

    [[nodiscard]] ExitCode code() const noexcept { return code_; }
    [[nodiscard]] const std::string& remedy() const noexcept { return remedy_; }

private:
    ExitCode code_;
    std::string remedy_;
};

/// The C library's text for an errno value, for messages.
[[nodiscard]] std::string errno_text(int number);

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
    throw Error{ExitCode::failed, fmt::format(format, std::forward<Args>(args)...)};
}

} // namespace cero
