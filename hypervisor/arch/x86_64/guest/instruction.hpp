// SPDX-License-Identifier: BSD-2-Clause
// The common part of decoding a 64-bit instruction: prefixes, opcode, and the length of its memory
// operand.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace cero::arch {

struct Instruction {
    std::uint8_t rex; ///< 0 = none
    bool two_byte;    ///< opcode behind 0x0f
    std::uint8_t opcode;
    bool has_modrm;
    std::uint8_t modrm;
    bool repeat;                ///< f2 or f3
    std::uint8_t operand_bytes; ///< 2, 4 or 8
    std::uint8_t length;        ///< without immediate operands
};

/// Nothing when the bytes end too early or the opcode is in none of the maps known here.
[[nodiscard]] std::optional<Instruction> decode_instruction(std::span<const std::uint8_t> code) noexcept;

} // namespace cero::arch
