// SPDX-License-Identifier: BSD-2-Clause
// The only doors between kernel and user memory. They may sleep (demand paging) and fail with
// fault.
#pragma once

#include <kernel/types.hpp>

#include <type_traits>

namespace kernel {

/// An address in the current process; nothing dereferences it but the functions below.
using UserAddress = std::uint64_t;

inline constexpr UserAddress user_limit = 0x7fff'ffff'f000;

[[nodiscard]] Status copy_from_user(void* to, UserAddress from, std::size_t size) noexcept;
[[nodiscard]] Status copy_to_user(UserAddress to, const void* from, std::size_t size) noexcept;
[[nodiscard]] Status clear_user(UserAddress to, std::size_t size) noexcept;
/// Copies a NUL-terminated string; returns its length without NUL. nametoolong if it does not fit.
[[nodiscard]] Result<std::size_t> copy_string_from_user(char* to, UserAddress from,
                                                        std::size_t size) noexcept;

template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] Result<T> read_user(UserAddress from) noexcept {
    T value;
    TRY(copy_from_user(&value, from, sizeof value));
    return value;
}
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] Status write_user(UserAddress to, const T& value) noexcept {
    return copy_to_user(to, &value, sizeof value);
}

} // namespace kernel
