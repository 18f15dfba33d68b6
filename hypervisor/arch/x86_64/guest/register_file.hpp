// SPDX-License-Identifier: BSD-2-Clause
// General registers by their encoding in instructions.
#pragma once

#include <arch/api/vcpu.hpp>

namespace cero::arch {

inline std::uint64_t& general_register(GuestRegs& regs, unsigned number) noexcept {
    std::uint64_t* const order[16] = {
        &regs.rax, &regs.rcx, &regs.rdx, &regs.rbx, &regs.rsp, &regs.rbp, &regs.rsi, &regs.rdi,
        &regs.r8,  &regs.r9,  &regs.r10, &regs.r11, &regs.r12, &regs.r13, &regs.r14, &regs.r15};
    return *order[number & 15];
}

constexpr std::uint64_t width_mask(unsigned bytes) noexcept {
    return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}

/// Writes a result of 1, 2, 4 or 8 bytes as the CPU does: 4 bytes clear the upper half.
inline void write_register(std::uint64_t& target, std::uint64_t value, unsigned bytes) noexcept {
    if (bytes >= 4)
        target = value & width_mask(bytes);
    else
        target = (target & ~width_mask(bytes)) | (value & width_mask(bytes));
}

} // namespace cero::arch
