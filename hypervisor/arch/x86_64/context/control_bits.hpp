// SPDX-License-Identifier: BSD-2-Clause
// CR4 as the running vCPU's kernel wants it, where ring 3 notices.
#pragma once

#include <arch/api/vcpu.hpp>
#include <arch/x86_64/cpu/registers.hpp>

namespace cero::arch {

/// Whether ring 3 may read and write its FS and GS bases. The hypervisor's own exchange of GS bases follows the bit.
inline void load_control_bits(const ArchVcpu& vcpu) noexcept {
    const std::uint64_t real = read_cr4();
    const std::uint64_t wanted = (real & ~cr4::fsgsbase) | (vcpu.cr4 & cr4::fsgsbase);
    if (wanted != real) write_cr4(wanted);
}

} // namespace cero::arch
