// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/guest/store_decoder.hpp>

#include <arch/x86_64/guest/instruction.hpp>
#include <arch/x86_64/guest/register_file.hpp>

namespace cero::arch {
namespace {

namespace flag {
constexpr std::uint64_t cf = 1, pf = 4, af = 0x10, zf = 0x40, sf = 0x80, of = 0x800;
constexpr std::uint64_t resume = 0x10000;
constexpr std::uint64_t arithmetic = cf | pf | af | zf | sf | of;
} // namespace flag

enum class Operand : std::uint8_t { reg, imm8, imm8_signed, imm_wide };

/// One row: opcode, what it does, where its operand comes from. `extension`: ModRM.reg must be
/// this.
struct Form {
    bool two_byte;
    std::uint8_t opcode;
    std::int8_t extension; ///< -1: ModRM.reg is a register
    bool is_byte;
    StoreKind kind;
    Operand operand;
};
constexpr Form forms[] = {
    {false, 0x88, -1, true, StoreKind::mov, Operand::reg},
    {false, 0x89, -1, false, StoreKind::mov, Operand::reg},
    {false, 0xc6, 0, true, StoreKind::mov, Operand::imm8},
    {false, 0xc7, 0, false, StoreKind::mov, Operand::imm_wide},
    {false, 0x86, -1, true, StoreKind::exchange, Operand::reg},
    {false, 0x87, -1, false, StoreKind::exchange, Operand::reg},
    {false, 0x00, -1, true, StoreKind::add, Operand::reg},
    {false, 0x01, -1, false, StoreKind::add, Operand::reg},
    {false, 0x08, -1, true, StoreKind::bit_or, Operand::reg},
    {false, 0x09, -1, false, StoreKind::bit_or, Operand::reg},
    {false, 0x20, -1, true, StoreKind::bit_and, Operand::reg},
    {false, 0x21, -1, false, StoreKind::bit_and, Operand::reg},
    {false, 0x28, -1, true, StoreKind::subtract, Operand::reg},
    {false, 0x29, -1, false, StoreKind::subtract, Operand::reg},
    {false, 0x30, -1, true, StoreKind::bit_xor, Operand::reg},
    {false, 0x31, -1, false, StoreKind::bit_xor, Operand::reg},
    {false, 0x80, 0, true, StoreKind::add, Operand::imm8},
    {false, 0x80, 1, true, StoreKind::bit_or, Operand::imm8},
    {false, 0x80, 4, true, StoreKind::bit_and, Operand::imm8},
    {false, 0x80, 5, true, StoreKind::subtract, Operand::imm8},
    {false, 0x80, 6, true, StoreKind::bit_xor, Operand::imm8},
    {false, 0x81, 0, false, StoreKind::add, Operand::imm_wide},
    {false, 0x81, 1, false, StoreKind::bit_or, Operand::imm_wide},
    {false, 0x81, 4, false, StoreKind::bit_and, Operand::imm_wide},
    {false, 0x81, 5, false, StoreKind::subtract, Operand::imm_wide},
    {false, 0x81, 6, false, StoreKind::bit_xor, Operand::imm_wide},
    {false, 0x83, 0, false, StoreKind::add, Operand::imm8_signed},
    {false, 0x83, 1, false, StoreKind::bit_or, Operand::imm8_signed},
    {false, 0x83, 4, false, StoreKind::bit_and, Operand::imm8_signed},
    {false, 0x83, 5, false, StoreKind::subtract, Operand::imm8_signed},
    {false, 0x83, 6, false, StoreKind::bit_xor, Operand::imm8_signed},
    {true, 0xb0, -1, true, StoreKind::compare_exchange, Operand::reg},
    {true, 0xb1, -1, false, StoreKind::compare_exchange, Operand::reg},
    {true, 0xc0, -1, true, StoreKind::exchange_add, Operand::reg},
    {true, 0xc1, -1, false, StoreKind::exchange_add, Operand::reg},
    {true, 0xba, 5, false, StoreKind::bit_set, Operand::imm8},
    {true, 0xba, 6, false, StoreKind::bit_reset, Operand::imm8},
    {true, 0xba, 7, false, StoreKind::bit_flip, Operand::imm8},
    {true, 0xab, -1, false, StoreKind::bit_set, Operand::reg},
    {true, 0xb3, -1, false, StoreKind::bit_reset, Operand::reg},
    {true, 0xbb, -1, false, StoreKind::bit_flip, Operand::reg},
};

constexpr std::size_t form_count = sizeof forms / sizeof forms[0];

/// First row of each opcode, plus one; rows of one opcode follow each other. Built at compile time.
struct FirstRow {
    std::uint8_t row[2][256];
};
constexpr FirstRow make_first_rows() noexcept {
    FirstRow first{};
    for (std::size_t n = form_count; n-- > 0;)
        first.row[forms[n].two_byte ? 1 : 0][forms[n].opcode] = static_cast<std::uint8_t>(n + 1);
    return first;
}
constexpr FirstRow first_rows = make_first_rows();

const Form* find_form(const Instruction& in, unsigned modrm_reg) noexcept {
    const unsigned first = first_rows.row[in.two_byte ? 1 : 0][in.opcode];
    if (first == 0) return nullptr;
    for (std::size_t n = first - 1; n < form_count && forms[n].opcode == in.opcode; ++n)
        if (forms[n].extension < 0 || static_cast<unsigned>(forms[n].extension) == (modrm_reg & 7))
            return &forms[n];
    return nullptr;
}

std::uint64_t source_of(const StoreInstruction& in, const GuestRegs& regs) noexcept {
    return (in.from_register ? general_register(regs, in.reg) : in.immediate) &
           width_mask(in.bytes);
}

bool is_bit_operation(StoreKind kind) noexcept {
    return kind == StoreKind::bit_set || kind == StoreKind::bit_reset ||
           kind == StoreKind::bit_flip;
}

/// Sign, zero and parity of a result.
std::uint64_t result_flags(std::uint64_t value, unsigned bytes) noexcept {
    value &= width_mask(bytes);
    std::uint64_t flags = 0;
    flags |= value == 0 ? flag::zf : 0;
    flags |= (value >> (bytes * 8 - 1) & 1) != 0 ? flag::sf : 0;
    flags |= __builtin_parity(static_cast<unsigned>(value & 0xff)) == 0 ? flag::pf : 0;
    return flags;
}

std::uint64_t subtract_flags(std::uint64_t a, std::uint64_t b, unsigned bytes) noexcept {
    const std::uint64_t result = (a - b) & width_mask(bytes);
    const unsigned top = bytes * 8 - 1;
    std::uint64_t flags = result_flags(result, bytes);
    flags |= a < b ? flag::cf : 0;
    flags |= ((a ^ b ^ result) & 0x10) != 0 ? flag::af : 0;
    flags |= (((a ^ b) & (a ^ result)) >> top & 1) != 0 ? flag::of : 0;
    return flags;
}

std::uint64_t add_flags(std::uint64_t a, std::uint64_t b, unsigned bytes) noexcept {
    const std::uint64_t result = (a + b) & width_mask(bytes);
    const unsigned top = bytes * 8 - 1;
    std::uint64_t flags = result_flags(result, bytes);
    flags |= result < a ? flag::cf : 0;
    flags |= ((a ^ b ^ result) & 0x10) != 0 ? flag::af : 0;
    flags |= ((~(a ^ b) & (a ^ result)) >> top & 1) != 0 ? flag::of : 0;
    return flags;
}

} // namespace

std::optional<StoreInstruction> decode_store(std::span<const std::uint8_t> code) noexcept {
    const std::optional<Instruction> in = decode_instruction(code);
    if (!in || !in->has_modrm || in->modrm >> 6 == 3 || in->repeat) return {};
    const unsigned modrm_reg = (in->modrm >> 3 & 7u) | (in->rex & 4u) << 1;
    const Form* form = find_form(*in, modrm_reg);
    if (form == nullptr) return {};
    StoreInstruction store{form->kind,
                           static_cast<std::uint8_t>(form->is_byte ? 1 : in->operand_bytes),
                           0,
                           form->operand == Operand::reg,
                           static_cast<std::uint8_t>(modrm_reg),
                           0};
    if (store.from_register && form->is_byte && in->rex == 0 && modrm_reg >= 4)
        return {}; // ah, ch, dh, bh: no kernel does that
    unsigned immediate_bytes = 0;
    if (form->operand == Operand::imm8 || form->operand == Operand::imm8_signed)
        immediate_bytes = 1;
    else if (form->operand == Operand::imm_wide)
        immediate_bytes = store.bytes == 2 ? 2 : 4;
    if (in->length + immediate_bytes > code.size()) return {};
    std::uint64_t raw = 0;
    for (unsigned n = 0; n < immediate_bytes; ++n)
        raw |= static_cast<std::uint64_t>(code[in->length + n]) << (n * 8);
    if (immediate_bytes != 0) // all are sign-extended; the width cuts them
        raw = static_cast<std::uint64_t>(
            static_cast<std::int64_t>(raw << (64 - immediate_bytes * 8)) >>
            (64 - immediate_bytes * 8));
    store.immediate = raw;
    store.length = static_cast<std::uint8_t>(in->length + immediate_bytes);
    return store;
}

StoreEffect store_effect(const StoreInstruction& in, const GuestRegs& regs,
                         std::uint64_t old) noexcept {
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
        regs.rflags &= ~flag::resume;
        return;
    }
    std::uint64_t flags = 0;
    if (in.kind == StoreKind::compare_exchange)
        flags = subtract_flags(regs.rax & mask, old, in.bytes);
    else if (in.kind == StoreKind::add || in.kind == StoreKind::exchange_add)
        flags = add_flags(old, source, in.bytes);
    else if (in.kind == StoreKind::subtract)
        flags = subtract_flags(old, source, in.bytes);
    else
        flags = result_flags(effect.value, in.bytes);
    if (is_bit_operation(in.kind)) {
        const bool was_set = (old >> (source & (in.bytes * 8u - 1)) & 1) != 0;
        regs.rflags = (regs.rflags & ~flag::cf) | (was_set ? flag::cf : 0);
    } else if (in.kind != StoreKind::exchange) {
        regs.rflags = (regs.rflags & ~flag::arithmetic) | flags;
    }
    if (in.kind == StoreKind::exchange || in.kind == StoreKind::exchange_add)
        write_register(general_register(regs, in.reg), old, in.bytes);
    else if (in.kind == StoreKind::compare_exchange && !effect.stores)
        write_register(regs.rax, old, in.bytes);
    regs.rip += in.length;
    regs.rflags &= ~flag::resume;
}

} // namespace cero::arch
