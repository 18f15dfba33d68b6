// SPDX-License-Identifier: BSD-2-Clause
// Entering the guest kernel: mode switch and the frame on its stack [pv-abi-facts D.1, D.2].
#pragma once

#include <arch/api/context.hpp>
#include <arch/x86_64/context/selectors.hpp>
#include <core/domain/vcpu.hpp>

namespace cero::arch {

/// Exchanges the GS bases and loads the user's tables. Precondition: kernel mode, user_cr3 is set.
void enter_user_mode(ArchVcpu& vcpu) noexcept;

/// Both yield true, so that the caller can end with it. A stack that cannot take the frame crashes the domain.
bool bounce(Vcpu& vcpu, std::uint64_t handler, bool mask_events) noexcept;
bool bounce_with_code(Vcpu& vcpu, std::uint64_t handler, bool mask_events, std::uint64_t code) noexcept;
/// The failsafe frame: also the data selectors that the guest had, bad ones among them; the registers become null, and
/// from the difference its kernel tells a bad selector from a refused return.
void bounce_failsafe(Vcpu& vcpu, const Selectors& wanted) noexcept;

} // namespace cero::arch
