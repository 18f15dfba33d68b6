// SPDX-License-Identifier: BSD-2-Clause
// Nearest: which of the known words somebody meant who wrote another one.
#pragma once

#include <span>
#include <string_view>

namespace cero {

/// The word of `known` that becomes `word` with the fewest characters inserted, removed, replaced
/// or exchanged with their neighbours; of equal ones the first. Empty if that takes more than a
/// third of `word`: a guess would mislead then.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string_view> known);

} // namespace cero
