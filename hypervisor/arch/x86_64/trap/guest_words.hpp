// SPDX-License-Identifier: BSD-2-Clause
// Inline accesses to guest memory, one word at a time, with the fault as a branch. For frames on
// guest stacks.
#pragma once

#include <cero/abi/hypercall.h>

#include <cstddef>
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

/// Stores a word of two, four or eight bytes between open and close. False: the access faulted.
template <typename Word>
[[gnu::always_inline]] inline bool store_guest_word(std::uint64_t address, Word value) noexcept {
    __asm__ goto("1: mov %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t"
                 ".long 1b - ., %l2 - .\n\t"
                 ".popsection"
                 :
                 : "m"(*reinterpret_cast<Word*>(address)), "r"(value)
                 : "memory"
                 : fault);
    return true;
fault:
    return false;
}

/// Loads one between open and close. False: the access faulted.
template <typename Word>
[[gnu::always_inline]] inline bool load_guest_word(Word& value, std::uint64_t address) noexcept {
    Word loaded;
    __asm__ goto("1: mov %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t"
                 ".long 1b - ., %l2 - .\n\t"
                 ".popsection"
                 : "=r"(loaded)
                 : "m"(*reinterpret_cast<const Word*>(address))
                 : "memory"
                 : fault);
    value = loaded;
    return true;
fault:
    return false;
}

/// Two bytes, or at most nine words of eight bytes and one of four behind them: a size that the compiler knows.
[[gnu::always_inline]] inline bool load_guest_words(void* to, std::uint64_t from, std::size_t bytes) noexcept {
    auto* words = static_cast<std::uint64_t*>(to);
    bool good = true;
    open_guest_access();
#pragma GCC unroll 9
    for (std::size_t n = 0; n < bytes / 8; ++n) good = good && load_guest_word(words[n], from + n * 8);
    if (bytes % 8 != 0)
        good = good && load_guest_word(reinterpret_cast<std::uint32_t&>(words[bytes / 8]), from + bytes - 4);
    close_guest_access();
    return good;
}
[[gnu::always_inline]] inline bool store_guest_words(std::uint64_t to, const void* from, std::size_t bytes) noexcept {
    const auto* words = static_cast<const std::uint64_t*>(from);
    bool good = true;
    open_guest_access();
#pragma GCC unroll 9
    for (std::size_t n = 0; n < bytes / 8; ++n) good = good && store_guest_word(to + n * 8, words[n]);
    if (bytes == 2)
        good = store_guest_word(to, *static_cast<const std::uint16_t*>(from));
    else if (bytes % 8 != 0)
        good = good && store_guest_word(to + bytes - 4, reinterpret_cast<const std::uint32_t&>(words[bytes / 8]));
    close_guest_access();
    return good;
}

/// Address to continue at after a fault of the hypervisor at `rip`; 0 = the fault is a bug.
[[nodiscard]] std::uint64_t find_fixup(std::uint64_t rip) noexcept;

} // namespace cero::arch
