// SPDX-License-Identifier: BSD-2-Clause
// System calls: how a subsystem adds rows to the table, and how a handler's parameters are decoded.
#pragma once

#include <kernel/types.hpp>
#include <kernel/user_copy.hpp>

#include <type_traits>
#include <utility>

namespace kernel {

/// The six argument registers: rdi, rsi, rdx, r10, r8, r9.
struct SyscallArguments {
    std::uint64_t value[6];
};

/// A row of the table. Handlers return what the program gets, or an Errno. Errno::restart: a signal
/// came; the call is made again after it unless its handler was installed without SA_RESTART (then
/// EINTR).
struct SyscallRow {
    std::uint16_t number;
    const char* name;
    std::int64_t (*handler)(const SyscallArguments& arguments);
};

namespace detail {

template <typename T>
T decode_argument(std::uint64_t raw) noexcept {
    if constexpr (std::is_same_v<T, bool>)
        return raw != 0;
    else
        return static_cast<T>(raw); // int parameters take the low half, as the ABI says
}
inline std::int64_t encode_result(Errno error, std::int64_t value) noexcept {
    return error == Errno::ok ? value : -static_cast<std::int64_t>(error);
}

template <auto Function, typename Signature>
struct SyscallWrapper;
template <auto Function, typename Value, typename... Parameters>
struct SyscallWrapper<Function, Result<Value> (*)(Parameters...)> {
    template <std::size_t... Index>
    static std::int64_t call(const SyscallArguments& arguments, std::index_sequence<Index...>) {
        auto result = Function(decode_argument<Parameters>(arguments.value[Index])...);
        if constexpr (std::is_same_v<Value, Unit>)
            return encode_result(result.error(), 0);
        else
            return result ? static_cast<std::int64_t>(*result) : encode_result(result.error(), 0);
    }
    static std::int64_t handle(const SyscallArguments& arguments) {
        return call(arguments, std::index_sequence_for<Parameters...>{});
    }
};
template <auto Function, typename Value, typename... Parameters>
struct SyscallWrapper<Function, Result<Value> (*)(Parameters...) noexcept>
    : SyscallWrapper<Function, Result<Value> (*)(Parameters...)> {};

} // namespace detail
} // namespace kernel

/// CERO_SYSCALL(0, read): row 0 is handled by function sys_read(int fd, UserAddress data, size_t
/// size) -> Result<integer> or Status. At namespace scope in a .cpp file.
#define CERO_SYSCALL(number, name)                                                                 \
    [[gnu::used, gnu::section(".syscalls"),                                                        \
      gnu::aligned(8)]] static const ::kernel::SyscallRow syscall_row_##name = {                   \
        number, #name,                                                                             \
        &::kernel::detail::SyscallWrapper<&sys_##name, decltype(&sys_##name)>::handle}
