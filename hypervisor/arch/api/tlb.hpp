// SPDX-License-Identifier: BSD-2-Clause
// TLB flushes. Guest translations are never global, so a CR3 reload is a full flush of a guest.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

void tlb_flush_local() noexcept;
void tlb_flush_local_page(GuestVirt address) noexcept;
/// Synchronous on every CPU of the mask (which may contain this one).
void tlb_flush(CpuMask cpus) noexcept;
void tlb_flush_page(CpuMask cpus, GuestVirt address) noexcept;

} // namespace cero::arch
