// SPDX-License-Identifier: BSD-2-Clause
// One CLI11 parser per verb, built only when the verb is used: starting must stay cheap.
#pragma once

#include "cli/command.hpp"

#include <CLI/CLI.hpp>

namespace cero::cli {

constexpr double device_timeout = 10; ///< seconds, for the other end of a disk or an interface

/// A timeout of the command line as system calls take it.
[[nodiscard]] int milliseconds(double seconds);

/// A parser that knows the verb's name and summary from the table.
class VerbParser {
public:
    explicit VerbParser(const std::string& verb);
    CLI::App* operator->() noexcept { return &app_; }
    /// False when --help was printed. Throws Error (usage) for a bad command line.
    [[nodiscard]] bool parse(Arguments arguments);
    /// Adds the one DOMAIN that the verb is about.
    void domain_option(std::string& name);
    /// Adds --json.
    void json_option(bool& flag);
    /// Adds --timeout SECONDS.
    void timeout_option(double& seconds, const std::string& what);

private:
    std::string verb_;
    CLI::App app_;
};

} // namespace cero::cli
