// SPDX-License-Identifier: BSD-2-Clause
// Detection of the CPU features that the hypervisor uses itself.
#include <arch/api/vcpu.hpp>
#include <arch/x86_64/cpu/registers.hpp>

namespace cero::arch {

CpuFeatures features;

void detect_features() noexcept {
    const auto bit = [](std::uint32_t word, unsigned n) { return (word >> n & 1) != 0; };
    features.max_leaf = cpuid(0).eax;
    features.max_extended_leaf = cpuid(0x80000000).eax;
    const CpuidResult one = cpuid(1);
    features.xsave = bit(one.ecx, 26) && features.max_leaf >= 0xd;
    features.x2apic = bit(one.ecx, 21);
    features.tsc_deadline = bit(one.ecx, 24);
    if (features.max_leaf >= 7) {
        const std::uint32_t seven = cpuid(7).ebx;
        features.fsgsbase = bit(seven, 0);
        features.smep = bit(seven, 7);
        features.smap = bit(seven, 20);
    }
    if (features.max_extended_leaf >= 0x80000001) features.pages_1g = bit(cpuid(0x80000001).edx, 26);
    if (features.max_extended_leaf >= 0x80000007) features.invariant_tsc = bit(cpuid(0x80000007).edx, 8);
    constexpr unsigned least_bits = 36;
    features.physical_bits = features.max_extended_leaf >= 0x80000008 ? cpuid(0x80000008).eax & 0xff : least_bits;
    features.xcr0 = 3;
    if (features.xsave) {
        const CpuidResult state = cpuid(0xd);
        features.xcr0 = (static_cast<std::uint64_t>(state.edx) << 32 | state.eax) & guest_xcr0_mask;
        features.xsaveopt = bit(cpuid(0xd, 1).eax, 0);
    }
}

} // namespace cero::arch
