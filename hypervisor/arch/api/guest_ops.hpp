// SPDX-License-Identifier: BSD-2-Clause
// Hypercalls of the processor layer, in register order, for core's dispatch table.
#pragma once

#include <core/types.hpp>

#include <cero/lib/result.hpp>

namespace cero::arch {

Status set_trap_table(Vcpu& current, std::uint64_t traps) noexcept;
Status set_gdt(Vcpu& current, std::uint64_t frames, std::uint64_t entries) noexcept;
Status stack_switch(Vcpu& current, std::uint64_t ss, std::uint64_t sp) noexcept;
Status set_callbacks(Vcpu& current, std::uint64_t event, std::uint64_t failsafe, std::uint64_t syscall) noexcept;
Status fpu_taskswitch(Vcpu& current, std::uint64_t set) noexcept;
Status set_debugreg(Vcpu& current, std::uint64_t number, std::uint64_t value) noexcept;
Result<std::int64_t> get_debugreg(Vcpu& current, std::uint64_t number) noexcept;
Status set_segment_base(Vcpu& current, std::uint64_t which, std::uint64_t base) noexcept;
Status nmi_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept;
Status callback_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept;

} // namespace cero::arch
