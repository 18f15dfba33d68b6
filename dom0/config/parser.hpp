// SPDX-License-Identifier: BSD-2-Clause
// Parser of xl.cfg syntax: "key = value" with strings, numbers and lists, and positions for
// messages.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cero::config {

struct Position {
    unsigned line{1};
    unsigned column{1};
};

/// A configuration that cannot be used: "file:line:column: text".
class ConfigError : public Error {
public:
    ConfigError(std::string_view source, Position at, std::string_view text,
                std::string remedy = {})
        : Error{ExitCode::usage, fmt::format("{}:{}:{}: {}", source, at.line, at.column, text),
                std::move(remedy)} {}
};

struct Value {
    std::variant<std::string, std::int64_t, std::vector<Value>> content;
    Position at;
};

struct Setting {
    std::string key;
    Value value;
    Position at;
    std::string source; ///< file name, or "command line"
    bool append{};      ///< "+=" instead of "="
};

inline constexpr std::size_t text_max = 256 << 10;

/// Throws ConfigError at the first mistake.
[[nodiscard]] std::vector<Setting> parse(std::string_view text, const std::string& source);
/// One "key=value" from a command line; a value that is no number, string or list is a bare string.
[[nodiscard]] Setting parse_override(std::string_view text);

} // namespace cero::config
