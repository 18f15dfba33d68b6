// SPDX-License-Identifier: BSD-2-Clause
// The GDT and LDT windows of a CPU: descriptor pages of the current vCPU, mapped in slot 259.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

/// Shows the descriptor tables of a vCPU on this CPU. The caller flushes the TLB (a CR3 load will
/// do), or asks for it.
void show_gdt(const Vcpu& vcpu, bool flush) noexcept;
void show_ldt(Vcpu& vcpu, bool flush) noexcept;

/// Whether the address lies in this CPU's LDT window.
[[nodiscard]] bool in_ldt_window(std::uint64_t address) noexcept;
/// Maps the LDT page behind an address of the window. False: the guest's LDT has nothing valid
/// there.
[[nodiscard]] bool map_ldt_page(Vcpu& vcpu, std::uint64_t address) noexcept;

/// Loads a data segment register; a page of the LDT that the selector needs is mapped first. False: the descriptor
/// is not valid (any more), and the register is null.
bool load_selector(Vcpu& vcpu, std::uint64_t (*load)(std::uint16_t), std::uint16_t selector) noexcept;

} // namespace cero::arch
