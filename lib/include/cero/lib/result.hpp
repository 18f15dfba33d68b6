// SPDX-License-Identifier: BSD-2-Clause
// Result: a value or an Errno, the only way in which a function here reports failure.
#pragma once

#include <cero/lib/errno.hpp>

#include <new>
#include <type_traits>
#include <utility>

namespace cero {

/// The value of a Result that carries none.
struct Unit {};

/// Move-only sum of a T and an Errno. There is no unwrap(): test it, or pass it on with TRY().
template <typename T = Unit>
class [[nodiscard]] Result {
public:
    constexpr Result(Errno error) noexcept : error_{error} {} // NOLINT(google-explicit-constructor)
    // clang-format 14 does not know requires-clauses.
    // clang-format off
    template <typename U = T>
        requires(std::is_constructible_v<T, U&&> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
                 !std::is_same_v<std::remove_cvref_t<U>, Errno>)
    // NOLINTNEXTLINE(google-explicit-constructor, bugprone-forwarding-reference-overload)
    constexpr Result(U&& value) noexcept : value_(std::forward<U>(value)) {}
    // clang-format on

    constexpr Result(Result&& other) noexcept : error_{other.error_} {
        if (other.has_value())
            ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    }
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    Result& operator=(Result&&) = delete;
    constexpr ~Result() {
        if constexpr (!std::is_trivially_destructible_v<T>)
            if (has_value())
                value_.~T();
    }

    [[nodiscard]] constexpr bool has_value() const noexcept { return error_ == Errno::ok; }
    constexpr explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] constexpr Errno error() const noexcept { return error_; }

    /// Precondition of the next four: has_value().
    [[nodiscard]] constexpr T& operator*() & noexcept { return value_; }
    [[nodiscard]] constexpr const T& operator*() const& noexcept { return value_; }
    /// Not nodiscard: TRY() as a statement drops the value.
    constexpr T&& operator*() && noexcept { return std::move(value_); }
    [[nodiscard]] constexpr T* operator->() noexcept { return &value_; }

    template <typename U>
    [[nodiscard]] constexpr T value_or(U&& fallback) && noexcept {
        return has_value() ? std::move(value_) : static_cast<T>(std::forward<U>(fallback));
    }

private:
    Errno error_{Errno::ok};
    union {
        T value_;
    };
};

/// The empty success.
template <>
class [[nodiscard]] Result<Unit> {
public:
    constexpr Result() noexcept = default;
    constexpr Result(Unit) noexcept {}                        // NOLINT(google-explicit-constructor)
    constexpr Result(Errno error) noexcept : error_{error} {} // NOLINT(google-explicit-constructor)
    [[nodiscard]] constexpr bool has_value() const noexcept { return error_ == Errno::ok; }
    constexpr explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] constexpr Errno error() const noexcept { return error_; }
    constexpr Unit operator*() const noexcept { return {}; }

private:
    Errno error_{Errno::ok};
};

using Status = Result<Unit>;

} // namespace cero

/// Evaluates a Result expression; yields its value, or returns its error from the enclosing
/// function.
#define TRY(...)                                                                                   \
    __extension__({                                                                                \
        auto cero_try_result = (__VA_ARGS__);                                                      \
        if (!cero_try_result) [[unlikely]]                                                         \
            return cero_try_result.error();                                                        \
        *std::move(cero_try_result);                                                               \
    })
