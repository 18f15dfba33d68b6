// SPDX-License-Identifier: BSD-2-Clause
// Values of command line options.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cero {

/// A decimal number with an optional K, M, G or T behind it; what follows a comma is ignored. Null
/// when it is none, or too large.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

} // namespace cero
