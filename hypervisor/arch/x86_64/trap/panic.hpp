// SPDX-License-Identifier: BSD-2-Clause
// The end: registers, a symbolised backtrace, and a stop or a restart.
#pragma once

#include <arch/api/vcpu.hpp>

namespace cero::arch {

struct Symbol {
    const char* name;
    std::uint64_t offset;
};
/// The function that an address lies in; name null: none. The table is put in after linking.
[[nodiscard]] Symbol find_symbol(std::uint64_t address) noexcept;

[[noreturn]] void panic_with_registers(const GuestRegs& regs, const char* what) noexcept;

} // namespace cero::arch
