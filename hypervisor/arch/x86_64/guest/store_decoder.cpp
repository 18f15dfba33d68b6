// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/guest/store_decoder.hpp>

#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/guest/instruction.hpp>
#include <arch/x86_64/guest/register_file.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t arithmetic_flags = rflags::cf | rflags::pf | rflags::af | rflags::zf | rflags::sf | rflags::of;

enum class Operand : std::uint8_t { reg, imm8, imm_wide };

struct Form {
    StoreKind kind;
    Operand operand;
    bool is_byte;
};

/// Kinds of the eight arithmetic operations as opcodes and ModRM.reg number them; or, adc, sbb and
/// cmp of the row are not for page tables.
std::optional<StoreKind> arithmetic_kind(unsigned number) noexcept {
    switch (number & 7) {
    case 0: return StoreKind::add;
    case 1: return StoreKind::bit_or;
    case 4: return StoreKind::bit_and;
    case 5: return StoreKind::subtract;
    case 6: return StoreKind::bit_xor;
    default: return {};
    }
}

std::optional<Form> find_form(const Instruction& in, unsigned modrm_reg) noexcept {
    const unsigned opcode = in.two_byte ? 0x100u | in.opcode : in.opcode;
    const bool is_byte = (opcode & 1) == 0;
    const unsigned group = modrm_reg & 7;
    if (opcode < 0x40 && (opcode & 7) < 2) // operation in bits 3 to 5, a register as the source
        if (const auto kind = arithmetic_kind(opcode >> 3)) return Form{*kind, Operand::reg, is_byte};
    switch (opcode & ~1u) { // the lowest bit tells bytes from words
    case 0x88: return Form{StoreKind::mov, Operand::reg, is_byte};
    case 0x86: return Form{StoreKind::exchange, Operand::reg, is_byte};
    case 0x1b0: return Form{StoreKind::compare_exchange, Operand::reg, is_byte};
    case 0x1c0: return Form{StoreKind::exchange_add, Operand::reg, is_byte};
    case 0xc6:
        if (group != 0) return {};
        return Form{StoreKind::mov, is_byte ? Operand::imm8 : Operand::imm_wide, is_byte};
    case 0x80:
    case 0x82:
        if (const auto kind = arithmetic_kind(group); kind && opcode != 0x82)
            return Form{*kind, opcode == 0x81 ? Operand::imm_wide : Operand::imm8, is_byte};
        return {};
    default: break;
    }
    constexpr StoreKind bits[] = {StoreKind::bit_set, StoreKind::bit_reset, StoreKind::bit_flip};
    if (opcode == 0x1ba && group >= 5) return Form{bits[group - 5], Operand::imm8, false};
    for (unsigned n = 0; n < 3; ++n)
        if (opcode == 0x1abu + n * 8) return Form{bits[n], Operand::reg, false};
    return {};
}

std::uint64_t source_of(const StoreInstruction& in, const GuestRegs& regs) noexcept {
    return (in.from_register ? general_register(regs, in.reg) : in.immediate) & width_mask(in.bytes);
}

bool is_bit_operation(StoreKind kind) noexcept {
    return kind == StoreKind::bit_set || kind == StoreKind::bit_reset || kind == StoreKind::bit_flip;
}

/// Sign, zero and parity of a result.
std::uint64_t result_flags(std::uint64_t value, unsigned bytes) noexcept {
    value &= width_mask(bytes);
    std::uint64_t flags = 0;
    flags |= value == 0 ? rflags::zf : 0;
    flags |= (value >> (bytes * 8 - 1) & 1) != 0 ? rflags::sf : 0;
    flags |= __builtin_parity(static_cast<unsigned>(value & 0xff)) == 0 ? rflags::pf : 0;
    return flags;
}

/// All arithmetic flags of a + b, or of a - b.
std::uint64_t sum_flags(std::uint64_t a, std::uint64_t b, unsigned bytes, bool subtract) noexcept {
    const std::uint64_t result = (subtract ? a - b : a + b) & width_mask(bytes);
    const std::uint64_t overflow = (subtract ? a ^ b : ~(a ^ b)) & (a ^ result);
    std::uint64_t flags = result_flags(result, bytes) | ((a ^ b ^ result) & rflags::af);
    flags |= (subtract ? a < b : result < a) ? rflags::cf : 0;
    flags |= (overflow >> (bytes * 8 - 1) & 1) != 0 ? rflags::of : 0;
    return flags;
}

} // namespace

std::optional<StoreInstruction> decode_store(std::span<const std::uint8_t> code) noexcept {
    const std::optional<Instruction> in = decode_instruction(code);
    if (!in || !in->has_modrm || in->modrm >> 6 == 3 || in->repeat) return {};
    const unsigned modrm_reg = (in->modrm >> 3 & 7u) | (in->rex & 4u) << 1;
    const std::optional<Form> form = find_form(*in, modrm_reg);
    if (!form) return {};
    StoreInstruction store{form->kind,
                           static_cast<std::uint8_t>(form->is_byte ? 1 : in->operand_bytes),
                           0,
                           form->operand == Operand::reg,
                           static_cast<std::uint8_t>(modrm_reg),
                           0};
    if (store.from_register && form->is_byte && in->rex == 0 && modrm_reg >= 4)
        return {}; // ah, ch, dh, bh: no kernel does that
    const unsigned wide_bytes = store.bytes == 2 ? 2 : 4;
    const unsigned immediate_bytes = store.from_register ? 0 : form->operand == Operand::imm8 ? 1 : wide_bytes;
    if (in->length + immediate_bytes > code.size()) return {};
    std::uint64_t raw = 0;
    for (unsigned n = 0; n < immediate_bytes; ++n) raw |= static_cast<std::uint64_t>(code[in->length + n]) << (n * 8);
    if (immediate_bytes != 0) // all are sign-extended; the width cuts them
        raw = static_cast<std::uint64_t>(static_cast<std::int64_t>(raw << (64 - immediate_bytes * 8)) >>
                                         (64 - immediate_bytes * 8));
    store.immediate = raw;
    store.length = static_cast<std::uint8_t>(in->length + immediate_bytes);
    return store;
}

StoreEffect store_effect(const StoreInstruction& in, const GuestRegs& regs, std::uint64_t old) noexcept {
    const std::uint64_t mask = width_mask(in.bytes);
    const std::uint64_t source = source_of(in, regs);
    // A register's bit number reaches beyond the operand in memory; such stores fault elsewhere.
    const std::uint64_t bit = 1ull << (source & (in.bytes * 8u - 1));
    old &= mask;
    switch (in.kind) {
    case StoreKind::mov:
    case StoreKind::exchange: return {source, true};
    case StoreKind::compare_exchange: return {source, (regs.rax & mask) == old};
    case StoreKind::exchange_add:
    case StoreKind::add: return {(old + source) & mask, true};
    case StoreKind::subtract: return {(old - source) & mask, true};
    case StoreKind::bit_and: return {old & source, true};
    case StoreKind::bit_or: return {old | source, true};
    case StoreKind::bit_xor: return {old ^ source, true};
    case StoreKind::bit_set: return {old | bit, true};
    case StoreKind::bit_reset: return {old & ~bit, true};
    case StoreKind::bit_flip: return {old ^ bit, true};
    }
    return {old, false};
}

void retire_store(const StoreInstruction& in, GuestRegs& regs, std::uint64_t old) noexcept {
    const std::uint64_t mask = width_mask(in.bytes);
    const std::uint64_t source = source_of(in, regs);
    const StoreEffect effect = store_effect(in, regs, old);
    old &= mask;
    if (in.kind == StoreKind::mov) { // neither flags nor registers
        regs.rip += in.length;
        regs.rflags &= ~rflags::rf;
        return;
    }
    std::uint64_t flags = 0;
    if (in.kind == StoreKind::compare_exchange)
        flags = sum_flags(regs.rax & mask, old, in.bytes, true);
    else if (in.kind == StoreKind::add || in.kind == StoreKind::exchange_add)
        flags = sum_flags(old, source, in.bytes, false);
    else if (in.kind == StoreKind::subtract)
        flags = sum_flags(old, source, in.bytes, true);
    else
        flags = result_flags(effect.value, in.bytes);
    if (is_bit_operation(in.kind)) {
        const bool was_set = (old >> (source & (in.bytes * 8u - 1)) & 1) != 0;
        regs.rflags = (regs.rflags & ~rflags::cf) | (was_set ? rflags::cf : 0);
    } else if (in.kind != StoreKind::exchange) {
        regs.rflags = (regs.rflags & ~arithmetic_flags) | flags;
    }
    if (in.kind == StoreKind::exchange || in.kind == StoreKind::exchange_add)
        write_register(general_register(regs, in.reg), old, in.bytes);
    else if (in.kind == StoreKind::compare_exchange && !effect.stores)
        write_register(regs.rax, old, in.bytes);
    regs.rip += in.length;
    regs.rflags &= ~rflags::rf;
}

} // namespace cero::arch
