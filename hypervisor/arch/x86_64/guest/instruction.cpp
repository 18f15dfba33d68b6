// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/guest/instruction.hpp>

namespace cero::arch {
namespace {

constexpr bool is_legacy_prefix(std::uint8_t byte) noexcept {
    return (byte & 0xe7) == 0x26 ||          // es, cs, ss, ds
           (byte >= 0x64 && byte <= 0x67) || // fs, gs; operand size; address size: the forms below keep their length
           byte == 0xf0 || byte == 0xf2 || byte == 0xf3; // lock, repeat
}

/// Opcodes of the maps that take a ModRM byte, as far as this code emulates any of them.
constexpr bool takes_modrm(bool two_byte, std::uint8_t opcode) noexcept {
    if (two_byte)
        return (opcode >= 0x20 && opcode <= 0x23) || opcode == 0xab || opcode == 0xb0 || opcode == 0xb1 ||
               opcode == 0xb3 || opcode == 0xba || opcode == 0xbb || opcode == 0xc0 || opcode == 0xc1 || opcode == 0x01;
    return (opcode < 0x40 && (opcode & 7) < 4) || (opcode >= 0x80 && opcode <= 0x8b) || opcode == 0xc6 ||
           opcode == 0xc7;
}

/// Bytes of the ModRM operand behind the ModRM byte itself.
unsigned operand_length(std::uint8_t modrm, std::span<const std::uint8_t> rest) noexcept {
    const unsigned mod = modrm >> 6, rm = modrm & 7;
    if (mod == 3) return 0;
    unsigned length = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (rm == 4) {
        const bool base_is_disp32 = !rest.empty() && (rest[0] & 7) == 5;
        length += 1 + (mod == 0 && base_is_disp32 ? 4 : 0);
    } else if (mod == 0 && rm == 5) {
        length = 4;
    }
    return length;
}

} // namespace

std::optional<Instruction> decode_instruction(std::span<const std::uint8_t> code) noexcept {
    Instruction in{};
    in.operand_bytes = 4;
    std::size_t at = 0;
    for (; at < code.size() && is_legacy_prefix(code[at]); ++at) {
        if (code[at] == 0x66) in.operand_bytes = 2;
        if (code[at] == 0xf2 || code[at] == 0xf3) in.repeat = true;
    }
    if (at < code.size() && (code[at] & 0xf0) == 0x40) {
        in.rex = code[at++];
        if ((in.rex & 8) != 0) in.operand_bytes = 8;
    }
    if (at < code.size() && code[at] == 0x0f) {
        in.two_byte = true;
        ++at;
    }
    if (at >= code.size()) return {};
    in.opcode = code[at++];
    in.has_modrm = takes_modrm(in.two_byte, in.opcode);
    if (in.has_modrm) {
        if (at >= code.size()) return {};
        in.modrm = code[at++];
        // mov to and from control and debug registers ignores mod: always registers
        const bool always_registers = in.two_byte && in.opcode >= 0x20 && in.opcode <= 0x23;
        if (!always_registers) at += operand_length(in.modrm, code.subspan(at));
        if (at > code.size()) return {};
    }
    in.length = static_cast<std::uint8_t>(at);
    return in;
}

} // namespace cero::arch
