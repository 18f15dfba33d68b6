// SPDX-License-Identifier: BSD-2-Clause
// The CPUID policy: host leaves, masked to what a PV guest can use, and the hypervisor's own
// leaves.
#include <arch/x86_64/guest/policy.hpp>

#include <arch/api/clock.hpp>
#include <cero/abi/hypercall.h>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

constexpr std::uint32_t mask_of(std::initializer_list<unsigned> bits) noexcept {
    std::uint32_t mask = 0;
    for (const unsigned bit : bits) mask |= 1u << bit;
    return mask;
}

// Allowed feature bits, by leaf and register. Everything else is hidden: what needs ring 0, paging
// features that direct paging cannot give, and state that is not switched.
// leaf 1 EDX: FPU DE TSC MSR PAE MCE CX8 APIC SEP MCA CMOV PAT CLFLUSH MMX FXSR SSE SSE2
constexpr std::uint32_t leaf1_edx = mask_of({0, 2, 4, 5, 6, 7, 8, 9, 14, 15, 16, 19, 23, 24, 25, 26});
// leaf 1 ECX: SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE OSXSAVE AVX F16C
// RDRAND
constexpr std::uint32_t leaf1_ecx = mask_of({0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 27, 28, 29, 30});
constexpr std::uint32_t needs_xsave = mask_of({12, 26, 27, 28, 29}); // in leaf 1 ECX
constexpr std::uint32_t leaf1_hypervisor = 1u << 31;
// leaf 7 EBX: FSGSBASE BMI1 AVX2 BMI2 ERMS RDSEED ADX CLFLUSHOPT CLWB SHA
constexpr std::uint32_t leaf7_ebx = mask_of({0, 3, 5, 8, 9, 18, 19, 23, 24, 29});
constexpr std::uint32_t leaf7_avx2 = 1u << 5;
// leaf 7 ECX: GFNI VAES VPCLMULQDQ MOVDIRI MOVDIR64B; EDX: FSRM, ARCH_CAPABILITIES is not offered
constexpr std::uint32_t leaf7_ecx = mask_of({8, 9, 10, 27, 28});
constexpr std::uint32_t leaf7_edx = mask_of({4});
// 0x80000001 EDX: the leaf 1 copies, SYSCALL NX MMXEXT LM; ECX: LAHF ABM SSE4A MISALIGNSSE
// PREFETCHW
constexpr std::uint32_t ext1_edx = mask_of({0, 2, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 20, 22, 23, 24, 29});
constexpr std::uint32_t ext1_ecx = mask_of({0, 5, 6, 7, 8});

constexpr std::uint32_t hypervisor_max_leaf = CERO_CPUID_BASE + 5;
constexpr std::uint32_t version_4_17 = 4u << 16 | 17;
constexpr std::uint32_t max_machine_address_bits = 44; // up to this Linux chooses grant tables v1

CpuidResult leaf_1(const Vcpu& vcpu) noexcept {
    CpuidResult r = cpuid(1);
    // APIC id and the number of logical CPUs: the vCPU's own, not those of the CPU that it happens
    // to be on.
    r.ebx = (r.ebx & 0xff00) | (vcpu.id.raw() * 2 & 0xff) << 24;
    r.edx &= leaf1_edx;
    r.ecx &= leaf1_ecx;
    r.ecx = features.xsave ? r.ecx : r.ecx & ~needs_xsave;
    r.ecx |= leaf1_hypervisor;
    return r;
}

CpuidResult leaf_7(std::uint32_t subleaf) noexcept {
    if (subleaf != 0) return {};
    CpuidResult r = cpuid(7, 0);
    r.eax = 0;
    r.ebx &= leaf7_ebx & ((features.xcr0 & 4) != 0 ? ~0u : ~leaf7_avx2);
    r.ecx &= leaf7_ecx;
    r.edx &= leaf7_edx;
    return r;
}

CpuidResult leaf_d(const Vcpu& vcpu, std::uint32_t subleaf) noexcept {
    if (!features.xsave) return {};
    if (subleaf == 0) {
        constexpr std::uint32_t legacy_bytes = 576, with_avx = 832;
        const std::uint32_t all = (features.xcr0 & 4) != 0 ? with_avx : legacy_bytes;
        return {static_cast<std::uint32_t>(features.xcr0), (vcpu.arch.xcr0 & 4) != 0 ? with_avx : legacy_bytes, all, 0};
    }
    CpuidResult r = cpuid(0xd, subleaf);
    if (subleaf == 1) return {r.eax & 1, 0, 0, 0}; // XSAVEOPT
    return subleaf == 2 && (features.xcr0 & 4) != 0 ? r : CpuidResult{};
}

CpuidResult hypervisor_leaf(std::uint32_t index, std::uint32_t subleaf) noexcept {
    const TscScale& scale = tsc_scale();
    switch (index) {
    case 0: return {hypervisor_max_leaf, CERO_CPUID_SIGNATURE_EBX, CERO_CPUID_SIGNATURE_ECX, CERO_CPUID_SIGNATURE_EDX};
    case 1: return {version_4_17, 0, 0, 0};
    case 2: return {1, 0x40000000, 1, 0}; // one hypercall page; PRESERVE_AD is offered
    case 3:
        if (subleaf == 0) return {scale.stable ? 2u : 0u, 0, static_cast<std::uint32_t>(scale.khz), 0};
        return {subleaf == 2 ? static_cast<std::uint32_t>(scale.khz) : 0, 0, 0, 0};
    case 5: return {0, max_machine_address_bits, 0, 0};
    default: return {};
    }
}

CpuidResult extended_leaf(std::uint32_t leaf) noexcept {
    if (leaf > features.max_extended_leaf) return {};
    CpuidResult r = cpuid(leaf);
    switch (leaf) {
    case 0x80000000: r.eax = r.eax < 0x80000008 ? r.eax : 0x80000008; return r;
    case 0x80000001:
        r.edx &= ext1_edx;
        r.ecx &= ext1_ecx;
        return r;
    case 0x80000007: return {0, 0, 0, r.edx & 1u << 8};
    case 0x80000008: return {r.eax & 0xffff, 0, 0, 0};
    default: return leaf <= 0x80000006 ? r : CpuidResult{};
    }
}

} // namespace

CpuidResult guest_cpuid(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf) noexcept {
    if (leaf >= 0x80000000) return extended_leaf(leaf);
    if (leaf >= CERO_CPUID_BASE && leaf <= CERO_CPUID_BASE + 0xff)
        return leaf <= hypervisor_max_leaf ? hypervisor_leaf(leaf - CERO_CPUID_BASE, subleaf) : CpuidResult{};
    if (leaf > features.max_leaf) return {};
    switch (leaf) {
    case 0: {
        CpuidResult r = cpuid(0);
        r.eax = r.eax < 0xd ? r.eax : 0xd;
        return r;
    }
    case 1: return leaf_1(vcpu);
    case 2: return cpuid(leaf);
    case 4: { // caches; without the host's core and thread counts
        CpuidResult r = cpuid(leaf, subleaf);
        r.eax &= 0x3fff;
        return r;
    }
    case 7: return leaf_7(subleaf);
    case 0xd: return leaf_d(vcpu, subleaf);
    default: return {}; // monitor, thermal, performance counters, topology
    }
}

} // namespace cero::arch
