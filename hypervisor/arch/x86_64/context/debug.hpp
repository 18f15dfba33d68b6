// SPDX-License-Identifier: BSD-2-Clause
// Debug registers of guests.
#pragma once

#include <arch/api/vcpu.hpp>

namespace cero::arch {

inline constexpr std::uint64_t dr6_reset = 0xffff0ff0, dr7_reset = 0x400;

inline bool debug_is_active(const ArchVcpu& vcpu) noexcept { return (vcpu.dr7 & 0xff) != 0; }
void debug_load(const ArchVcpu& vcpu) noexcept;
void debug_switch_off() noexcept;

/// Current vCPU; the rules of the ABI (B.3).
[[nodiscard]] Status debug_write(ArchVcpu& vcpu, unsigned number, std::uint64_t value) noexcept;
[[nodiscard]] Result<std::uint64_t> debug_read(const ArchVcpu& vcpu, unsigned number) noexcept;
/// Value of a register as a new context may carry it; changes nothing.
[[nodiscard]] bool debug_value_is_valid(const ArchVcpu& vcpu, unsigned number, std::uint64_t value) noexcept;

} // namespace cero::arch
