// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's command line: words `name=value` or `name`, each documented in docs/boot.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cero::platform {

/// Takes the next word off `rest` (words are separated by blanks); empty at the end.
[[nodiscard]] std::string_view next_word(std::string_view& rest) noexcept;
/// Value of the last word with that name; "" for a word without `=`.
[[nodiscard]] std::optional<std::string_view> find_option(std::string_view line, std::string_view name) noexcept;
/// Whether the word's name is one that the hypervisor knows.
[[nodiscard]] bool is_known_option(std::string_view word) noexcept;
/// Decimal or 0x number; nothing when there is anything else.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text) noexcept;
/// A number with an optional suffix B, K, M, G, T; without one: KiB.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

} // namespace cero::platform
