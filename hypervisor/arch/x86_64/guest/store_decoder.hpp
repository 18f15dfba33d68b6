// SPDX-License-Identifier: BSD-2-Clause
// Decoder and semantics of the instructions with which kernels store to page tables [C.7]. Pure:
// host tests and the fuzzer run it. The address comes from the fault, so addressing forms are only
// skipped.
#pragma once

#include <arch/api/vcpu.hpp>

#include <optional>
#include <span>

namespace cero::arch {

enum class StoreKind : std::uint8_t {
    mov,
    exchange,
    compare_exchange,
    exchange_add,
    bit_and,
    bit_or,
    bit_xor,
    add,
    subtract,
    bit_set,
    bit_reset,
    bit_flip
};

struct StoreInstruction {
    StoreKind kind;
    std::uint8_t bytes;  ///< operand width: 1, 2, 4 or 8
    std::uint8_t length; ///< of the instruction
    bool from_register;
    std::uint8_t reg; ///< source, when from_register
    std::uint64_t immediate;
};

/// The instruction at the start of `code` (up to 15 bytes), or nothing when it is not one of ours.
[[nodiscard]] std::optional<StoreInstruction> decode_store(std::span<const std::uint8_t> code) noexcept;

struct StoreEffect {
    std::uint64_t value; ///< new content of the operand
    bool stores;         ///< false: a compare_exchange that found another value
};
/// What it does to an operand that holds `old`.
[[nodiscard]] StoreEffect store_effect(const StoreInstruction& instruction, const GuestRegs& regs,
                                       std::uint64_t old) noexcept;
/// Registers and flags after the instruction; the instruction pointer too.
void retire_store(const StoreInstruction& instruction, GuestRegs& regs, std::uint64_t old) noexcept;

} // namespace cero::arch
