// SPDX-License-Identifier: BSD-2-Clause
// Inline accesses to guest memory, one word at a time, with the fault as a branch. For frames on
// guest stacks.
#pragma once

#include <cero/abi/hypercall.h>

#include <cstdint>

namespace cero::arch {

/// A site for stac (kind 0) or clac (1); a three-byte nop without SMAP.
template <int Kind> [[gnu::always_inline]] inline void patch_site() noexcept {
    __asm__ volatile("771: .byte 0x0f, 0x1f, 0x00\n\t"
                     ".pushsection .patch_sites, \"a\"\n\t"
                     ".long 771b - ., %c0\n\t"
                     ".popsection"
                     :
                     : "i"(Kind)
                     : "memory");
}
/// Opens and closes guest memory to supervisor accesses (SMAP).
inline void open_guest_access() noexcept { patch_site<0>(); }
inline void close_guest_access() noexcept { patch_site<1>(); }

constexpr bool in_hypervisor_hole(std::uint64_t address) noexcept {
    return address - CERO_HYPERVISOR_VIRT_START < CERO_HYPERVISOR_VIRT_END - CERO_HYPERVISOR_VIRT_START;
}

/// Stores a word between open and close. False: the access faulted.
[[gnu::always_inline]] inline bool store_guest_word(std::uint64_t address, std::uint64_t value) noexcept {
    __asm__ goto("1: movq %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t"
                 ".long 1b - ., %l2 - .\n\t"
                 ".popsection"
                 :
                 : "m"(*reinterpret_cast<std::uint64_t*>(address)), "r"(value)
                 : "memory"
                 : fault);
    return true;
fault:
    return false;
}

/// Loads a word between open and close. False: the access faulted.
[[gnu::always_inline]] inline bool load_guest_word(std::uint64_t& value, std::uint64_t address) noexcept {
    std::uint64_t loaded;
    __asm__ goto("1: movq %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t"
                 ".long 1b - ., %l2 - .\n\t"
                 ".popsection"
                 : "=r"(loaded)
                 : "m"(*reinterpret_cast<const std::uint64_t*>(address))
                 : "memory"
                 : fault);
    value = loaded;
    return true;
fault:
    return false;
}

/// Address to continue at after a fault of the hypervisor at `rip`; 0 = the fault is a bug.
[[nodiscard]] std::uint64_t find_fixup(std::uint64_t rip) noexcept;

} // namespace cero::arch
