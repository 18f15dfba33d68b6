// SPDX-License-Identifier: BSD-2-Clause
// TrapFrame: registers of interrupted code, as entry.S lays them on the kernel stack.
#pragma once

#include "arch/x86_64/asm_offsets.h"

#include <cstddef>
#include <cstdint>

namespace kernel {

struct TrapFrame {
    std::uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    /// Entry: error code of the exception, or the system-call number. Exit: flags of the iret
    /// hypercall.
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;

    [[nodiscard]] bool from_user() const noexcept { return (cs & 3) != 0; }
};
static_assert(sizeof(TrapFrame) == FRAME_SIZE &&
              offsetof(TrapFrame, error_code) == FRAME_ERROR_CODE &&
              offsetof(TrapFrame, cs) == FRAME_CS);

inline constexpr std::uint64_t rflags_trap = 0x100;
inline constexpr std::uint64_t rflags_interrupt = 0x200;
/// Flags that a program may choose: the arithmetic ones, trap, direction, alignment check, id.
inline constexpr std::uint64_t rflags_user = 0x240dd5;

} // namespace kernel
