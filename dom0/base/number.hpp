// SPDX-License-Identifier: BSD-2-Clause
// Numbers in nodes, files and on command lines.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace cero {

/// The decimal number that the whole text is; std::nullopt for anything else, or one out of range.
template <typename Number>
[[nodiscard]] std::optional<Number> number_of(std::string_view text) noexcept {
    Number number{};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    return error == std::errc{} && stop == end ? std::optional{number} : std::nullopt;
}

} // namespace cero
