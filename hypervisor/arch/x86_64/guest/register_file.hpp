// SPDX-License-Identifier: BSD-2-Clause
// General registers by their encoding in instructions.
#pragma once

#include <arch/api/vcpu.hpp>

namespace cero::arch {

/// Word index in GuestRegs of each register number.
inline constexpr std::uint8_t register_words[16] = {
    offsetof(GuestRegs, rax) / 8, offsetof(GuestRegs, rcx) / 8, offsetof(GuestRegs, rdx) / 8,
    offsetof(GuestRegs, rbx) / 8, offsetof(GuestRegs, rsp) / 8, offsetof(GuestRegs, rbp) / 8,
    offsetof(GuestRegs, rsi) / 8, offsetof(GuestRegs, rdi) / 8, offsetof(GuestRegs, r8) / 8,
    offsetof(GuestRegs, r9) / 8,  offsetof(GuestRegs, r10) / 8, offsetof(GuestRegs, r11) / 8,
    offsetof(GuestRegs, r12) / 8, offsetof(GuestRegs, r13) / 8, offsetof(GuestRegs, r14) / 8,
    offsetof(GuestRegs, r15) / 8,
};
inline std::uint64_t& general_register(GuestRegs& regs, unsigned number) noexcept {
    return reinterpret_cast<std::uint64_t*>(&regs)[register_words[number & 15]];
}
inline std::uint64_t general_register(const GuestRegs& regs, unsigned number) noexcept {
    return reinterpret_cast<const std::uint64_t*>(&regs)[register_words[number & 15]];
}

constexpr std::uint64_t width_mask(unsigned bytes) noexcept { return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1; }

/// Writes a result of 1, 2, 4 or 8 bytes as the CPU does: 4 bytes clear the upper half.
inline void write_register(std::uint64_t& target, std::uint64_t value, unsigned bytes) noexcept {
    if (bytes >= 4)
        target = value & width_mask(bytes);
    else
        target = (target & ~width_mask(bytes)) | (value & width_mask(bytes));
}

} // namespace cero::arch
