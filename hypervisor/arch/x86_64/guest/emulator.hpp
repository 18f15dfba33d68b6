// SPDX-License-Identifier: BSD-2-Clause
// The sensitive instructions that PV kernels use: what arrives as #GP, #UD or a store to a page
// table.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

/// #GP of a guest: emulates the instruction [D.7], reflects INT n, or injects.
void handle_general_protection(Vcpu& vcpu) noexcept;
/// Whether #UD was raised by the forced-emulation prefix with cpuid behind it [D.8]; and the answer to that.
[[nodiscard]] bool is_forced_cpuid(Vcpu& vcpu) noexcept;
void emulate_forced_cpuid(Vcpu& vcpu) noexcept;
/// #NM; true when it is dealt with.
[[nodiscard]] bool handle_device_not_available(Vcpu& vcpu) noexcept;
/// A store of the guest kernel to a level-1 table [C.7]. False: not one; the fault is the guest's.
[[nodiscard]] bool emulate_pte_store(Vcpu& vcpu, GuestVirt address) noexcept;
/// Reads DR6 and resets it.
[[nodiscard]] std::uint64_t take_debug_status() noexcept;

} // namespace cero::arch
