// SPDX-License-Identifier: BSD-2-Clause
// FPU, SSE and AVX state: saved at every vCPU switch, so that no register of one guest reaches
// another.
#pragma once

#include <arch/api/vcpu.hpp>

namespace cero::arch {

void fpu_reset(ArchVcpu& vcpu) noexcept;
void fpu_save(ArchVcpu& vcpu) noexcept;
void fpu_restore(ArchVcpu& vcpu) noexcept;
/// Copies of the legacy 512-byte image, for vCPU contexts. State must be in memory.
void fpu_get_legacy(const ArchVcpu& vcpu, void* image) noexcept;
void fpu_set_legacy(ArchVcpu& vcpu, const void* image) noexcept;
/// Current vCPU: XCR0 as the guest wants it. False: not a value that the CPU and the policy allow.
[[nodiscard]] bool fpu_set_xcr0(ArchVcpu& vcpu, std::uint64_t value) noexcept;
/// Guest's CR0.TS: the next FPU instruction raises #NM.
void fpu_set_task_switched(ArchVcpu& vcpu, bool on) noexcept;

} // namespace cero::arch
