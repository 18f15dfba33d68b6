// SPDX-License-Identifier: BSD-2-Clause
// The hypercall instruction. Typed wrappers live with the subsystem that uses them.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

/// One hypercall by number; the result as the hypervisor gave it (negative errno on failure).
inline long hypercall(unsigned number, unsigned long a1 = 0, unsigned long a2 = 0,
                      unsigned long a3 = 0, unsigned long a4 = 0, unsigned long a5 = 0) noexcept {
    long result = number;
    register unsigned long r10 __asm__("r10") = a4;
    register unsigned long r8 __asm__("r8") = a5;
    __asm__ volatile("syscall"
                     : "+a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                     :
                     : "rcx", "r11", "memory");
    return result;
}

/// An argument given by address.
inline unsigned long by_address(const void* argument) noexcept {
    return reinterpret_cast<unsigned long>(argument);
}

/// The Errno of a negative result, ok otherwise.
[[nodiscard]] inline Errno errno_of(long result) noexcept {
    return result < 0 ? static_cast<Errno>(-result) : Errno::ok;
}

} // namespace kernel
