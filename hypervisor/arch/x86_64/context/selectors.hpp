// SPDX-License-Identifier: BSD-2-Clause
// The four data segment selectors of the running guest; the hypervisor itself never uses them.
#pragma once

#include <cstdint>

extern "C" {
/// Zero when loaded; otherwise the register holds what it held (GS: null).
std::uint64_t load_ds(std::uint16_t selector);
std::uint64_t load_es(std::uint16_t selector);
std::uint64_t load_fs(std::uint16_t selector);
std::uint64_t load_gs(std::uint16_t selector);
}

namespace cero::arch {

struct Selectors {
    std::uint16_t ds, es, fs, gs;
};

inline Selectors read_selectors() noexcept {
    Selectors s;
    __asm__ volatile("mov %%ds, %0" : "=rm"(s.ds));
    __asm__ volatile("mov %%es, %0" : "=rm"(s.es));
    __asm__ volatile("mov %%fs, %0" : "=rm"(s.fs));
    __asm__ volatile("mov %%gs, %0" : "=rm"(s.gs));
    return s;
}

/// Null selectors; the bases of FS and GS may go with them.
inline void drop_selectors() noexcept { static_cast<void>(load_ds(0) | load_es(0) | load_fs(0) | load_gs(0)); }

} // namespace cero::arch
