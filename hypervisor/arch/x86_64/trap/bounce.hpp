// SPDX-License-Identifier: BSD-2-Clause
// Entering the guest kernel: mode switch and the frame on its stack [pv-abi-facts D.1, D.2].
#pragma once

#include <arch/api/context.hpp>
#include <core/domain/vcpu.hpp>

namespace cero::arch {

/// Exchanges the GS bases and loads the user's tables. Precondition: kernel mode, user_cr3 is set.
void enter_user_mode(ArchVcpu& vcpu) noexcept;

/// Both yield true, so that the caller can end with it. A stack that cannot take the frame crashes the domain.
bool bounce(Vcpu& vcpu, std::uint64_t handler, bool mask_events) noexcept;
bool bounce_with_code(Vcpu& vcpu, std::uint64_t handler, bool mask_events, std::uint64_t code) noexcept;
/// The failsafe frame: also the four data selectors, which become null.
void bounce_failsafe(Vcpu& vcpu) noexcept;

} // namespace cero::arch
