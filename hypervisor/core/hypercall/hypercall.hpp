// SPDX-License-Identifier: BSD-2-Clause
// The dispatch table, typed handlers and continuations.
#pragma once

#include <arch/api/cpu.hpp>
#include <core/domain/vcpu.hpp>
#include <core/guest/guest_ptr.hpp>

namespace cero {

/// A handler as the entry code calls it: five argument words, the value for rax.
using HypercallEntry = std::int64_t (*)(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t);
/// CERO_HYPERCALL_COUNT entries; those without a handler answer -ENOSYS. Entry code indexes it with
/// a masked number after the bound check.
struct HypercallTable {
    HypercallEntry rows[CERO_HYPERCALL_COUNT];
    constexpr HypercallEntry operator[](std::uint64_t number) const { return rows[number]; }
};
extern const HypercallTable hypercall_table;

/// What a handler returns through the table to ask for its own continuation.
inline constexpr std::int64_t hypercall_restart = -static_cast<std::int64_t>(Errno::restart);

/// Called by the entry code when a handler returned a negative value: arranges the continuation
/// (registers, instruction pointer) or logs the failure. Returns the value for rax.
std::int64_t finish_hypercall(Vcpu& vcpu, std::uint64_t number, std::int64_t result);

/// Stores the argument registers with which the call is to be executed again, and yields the error
/// to return. Arguments not given keep the value of this execution.
template <typename... Words> Errno hypercall_continue(Vcpu& vcpu, Words... words) noexcept {
    static_assert(sizeof...(words) <= 5);
    unsigned n = 0;
    ((vcpu.continuation[n++] = static_cast<std::uint64_t>(words)), ...);
    vcpu.continuation_count = n;
    return Errno::restart;
}

namespace detail {

inline std::int64_t encode(const Status& status) noexcept { return -static_cast<std::int64_t>(status.error()); }
inline std::int64_t encode(const Result<std::int64_t>& result) noexcept {
    return result ? *result : -static_cast<std::int64_t>(result.error());
}

template <auto Handler, typename Return, typename... Args>
constexpr HypercallEntry entry_of(Return (*)(Vcpu&, Args...)) noexcept {
    static_assert(sizeof...(Args) <= 5);
    return [](std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d, std::uint64_t e) {
        const std::uint64_t words[5] = {a, b, c, d, e};
        const auto call = [&words]<std::size_t... Index>(std::index_sequence<Index...>) {
            return encode(Handler(arch::current_vcpu(), static_cast<Args>(words[Index])...));
        };
        return call(std::index_sequence_for<Args...>{});
    };
}

} // namespace detail

/// The table entry of a typed handler `Status or Result<int64_t> f(Vcpu&, arguments...)`: arguments
/// are integers, Strong numbers or GuestPtr, taken from the registers in order.
template <auto Handler> inline constexpr HypercallEntry wrap = detail::entry_of<Handler>(Handler);

/// Copies the structure at `argument` in, has it handled, and copies it back if the handler may
/// change it.
template <typename T> Status with_structure(Vcpu& vcpu, std::uint64_t argument, Status (*handler)(Vcpu&, T&)) {
    const GuestPtr<std::remove_const_t<T>> at{argument};
    auto structure = TRY(at.read());
    TRY(handler(vcpu, structure));
    return std::is_const_v<T> ? Status{} : at.write(structure);
}

} // namespace cero
