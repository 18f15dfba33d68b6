// SPDX-License-Identifier: BSD-2-Clause
// The only doors into guest memory through the current address space. Each returns false when the
// range touches the hypervisor's hole or an access faults; what was copied before a fault stays.
#pragma once

#include <core/types.hpp>

#include <cero/abi/hypercall.h>

namespace cero::arch {

[[nodiscard]] bool copy_from_guest_any(void* to, GuestVirt from, std::size_t bytes) noexcept;
[[nodiscard]] bool copy_to_guest_any(GuestVirt to, const void* from, std::size_t bytes) noexcept;
[[nodiscard]] bool clear_guest(GuestVirt to, std::size_t bytes) noexcept;

#ifdef CERO_HOST_TEST
[[nodiscard]] bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept;
[[nodiscard]] bool copy_to_guest(GuestVirt to, const void* from, std::size_t bytes) noexcept;
#else
extern "C" std::uint64_t copy_guest_words(void* to, const void* from, std::uint64_t words);

inline constexpr std::size_t max_guest_words = 9;

/// Whether [address, address + bytes) keeps out of the hole. For small sizes: what wraps or is not
/// canonical faults by itself.
inline bool is_small_guest_range(GuestVirt address, std::size_t bytes) noexcept {
    const std::uint64_t last = address.raw() + bytes - 1;
    return last - CERO_HYPERVISOR_VIRT_START >= CERO_HYPERVISOR_VIRT_END - CERO_HYPERVISOR_VIRT_START + bytes - 1;
}
/// Sizes of a few words that the compiler knows take the short way.
[[nodiscard, gnu::always_inline]] inline bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept {
    if (__builtin_constant_p(bytes) && bytes != 0 && bytes % 8 == 0 && bytes / 8 <= max_guest_words)
        return is_small_guest_range(from, bytes) &&
               copy_guest_words(to, reinterpret_cast<const void*>(from.raw()), bytes / 8) == 0;
    return copy_from_guest_any(to, from, bytes);
}
[[nodiscard, gnu::always_inline]] inline bool copy_to_guest(GuestVirt to, const void* from,
                                                            std::size_t bytes) noexcept {
    if (__builtin_constant_p(bytes) && bytes != 0 && bytes % 8 == 0 && bytes / 8 <= max_guest_words)
        return is_small_guest_range(to, bytes) &&
               copy_guest_words(reinterpret_cast<void*>(to.raw()), from, bytes / 8) == 0;
    return copy_to_guest_any(to, from, bytes);
}
#endif

} // namespace cero::arch
