// SPDX-License-Identifier: BSD-2-Clause
// The only doors into guest memory through the current address space. Each returns false when the
// range touches the hypervisor's hole or an access faults; what was copied before a fault stays.
#pragma once

#include <core/types.hpp>

#include <cero/abi/hypercall.h>

#ifndef CERO_HOST_TEST
#include <arch/x86_64/trap/guest_words.hpp>
#endif

namespace cero::arch {

[[nodiscard]] bool copy_from_guest_any(void* to, GuestVirt from, std::size_t bytes) noexcept;
[[nodiscard]] bool copy_to_guest_any(GuestVirt to, const void* from, std::size_t bytes) noexcept;
[[nodiscard]] bool clear_guest(GuestVirt to, std::size_t bytes) noexcept;

#ifdef CERO_HOST_TEST
[[nodiscard]] bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept;
[[nodiscard]] bool copy_to_guest(GuestVirt to, const void* from, std::size_t bytes) noexcept;
#else
constexpr bool is_few_words(std::size_t bytes) noexcept { return bytes != 0 && bytes % 4 == 0 && bytes <= 76; }
/// Whether [address, address + bytes) keeps out of the hole. For small sizes: what wraps or is not
/// canonical faults by itself.
inline bool is_small_guest_range(GuestVirt address, std::size_t bytes) noexcept {
    const std::uint64_t last = address.raw() + bytes - 1;
    return last - CERO_HYPERVISOR_VIRT_START >= CERO_HYPERVISOR_VIRT_END - CERO_HYPERVISOR_VIRT_START + bytes - 1;
}
/// Sizes of a few words that the compiler knows take the short way.
[[nodiscard, gnu::always_inline]] inline bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept {
    if (__builtin_constant_p(bytes) && is_few_words(bytes))
        return is_small_guest_range(from, bytes) && load_guest_words(to, from.raw(), bytes);
    return copy_from_guest_any(to, from, bytes);
}
[[nodiscard, gnu::always_inline]] inline bool copy_to_guest(GuestVirt to, const void* from,
                                                            std::size_t bytes) noexcept {
    if (__builtin_constant_p(bytes) && (is_few_words(bytes) || bytes == 2))
        return is_small_guest_range(to, bytes) && store_guest_words(to.raw(), from, bytes);
    return copy_to_guest_any(to, from, bytes);
}
#endif

} // namespace cero::arch
