// SPDX-License-Identifier: BSD-2-Clause
// Strong: a distinct, zero-cost integer type per kind of number, so that two kinds cannot be
// swapped.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>

namespace cero {

template <typename Tag, std::unsigned_integral Rep>
class Strong {
public:
    using rep = Rep;
    constexpr Strong() noexcept = default;
    constexpr explicit Strong(Rep raw) noexcept : raw_{raw} {}
    [[nodiscard]] constexpr Rep raw() const noexcept { return raw_; }
    constexpr auto operator<=>(const Strong&) const noexcept = default;

private:
    Rep raw_{};
};

} // namespace cero
