// SPDX-License-Identifier: BSD-2-Clause
// Model-specific registers as guests see them: a list of those that PV kernels touch, #GP for the
// rest.
#include <arch/api/clock.hpp>
#include <arch/x86_64/guest/policy.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

enum : std::uint32_t {
    msr_tsc = 0x10,
    msr_platform_id = 0x17,
    msr_apic_base = 0x1b,
    msr_feature_control = 0x3a,
    msr_microcode = 0x8b,
    msr_platform_info = 0xce,
    msr_misc_features = 0x140,
    msr_mcg_cap = 0x179,
    msr_mcg_status = 0x17a,
    msr_perf_status = 0x198,
    msr_perf_control = 0x199,
    msr_misc_enable = 0x1a0,
    msr_pat = 0x277,
    msr_perf_capabilities = 0x345,
    msr_star = 0xc0000081,
    msr_sfmask = 0xc0000084,
    msr_amd_nb_cfg = 0xc001001f,
    msr_amd_hwcr = 0xc0010015,
    msr_amd_de_cfg = 0xc0011029,
};
constexpr std::uint64_t apic_base_value = 0xfee00800, apic_base_boot = 0x100;
constexpr std::uint64_t pat_value = 0x0000050100070406;

} // namespace

bool guest_read_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t& value) noexcept {
    switch (index) {
    case static_cast<std::uint32_t>(Msr::fs_base): value = read_msr(Msr::fs_base); return true;
    case static_cast<std::uint32_t>(Msr::gs_base): // the guest's own is the swapped one
        value = read_msr(Msr::kernel_gs_base);
        return true;
    case static_cast<std::uint32_t>(Msr::kernel_gs_base):
        value = vcpu.arch.gs_base_inactive;
        return true;
    case static_cast<std::uint32_t>(Msr::efer):
        value = read_msr(Msr::efer) & ~(1ull << 12); // without SVME
        return true;
    case msr_tsc: value = read_tsc(); return true;
    case msr_apic_base:
        value = apic_base_value | (vcpu.id.raw() == 0 ? apic_base_boot : 0);
        return true;
    case msr_pat: value = pat_value; return true;
    case msr_feature_control:
        value = 1; // locked
        return true;
    case msr_amd_de_cfg:
        value = 2; // LFENCE serialises
        return true;
    case msr_misc_enable:
    case msr_platform_id:
    case msr_microcode:
    case msr_platform_info:
    case msr_misc_features:
    case msr_mcg_cap:
    case msr_mcg_status:
    case msr_perf_status:
    case msr_perf_control:
    case msr_perf_capabilities:
    case msr_amd_hwcr:
    case msr_amd_nb_cfg:
    case static_cast<std::uint32_t>(Msr::sysenter_cs):
    case static_cast<std::uint32_t>(Msr::sysenter_esp):
    case static_cast<std::uint32_t>(Msr::sysenter_eip): value = 0; return true;
    default:
        if (index >= msr_star && index <= msr_sfmask) {
            value = 0;
            return true;
        }
        return false;
    }
}

bool guest_write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept {
    switch (index) {
    case static_cast<std::uint32_t>(Msr::fs_base):
        if (!is_canonical(value)) return false;
        write_msr(Msr::fs_base, value);
        return true;
    case static_cast<std::uint32_t>(Msr::gs_base):
        if (!is_canonical(value)) return false;
        write_msr(Msr::kernel_gs_base, value);
        return true;
    case static_cast<std::uint32_t>(Msr::kernel_gs_base):
        if (!is_canonical(value)) return false;
        vcpu.arch.gs_base_inactive = value;
        return true;
    case static_cast<std::uint32_t>(Msr::efer):
        return value == (read_msr(Msr::efer) & ~(1ull << 12));
    case msr_pat: return value == pat_value;
    case msr_tsc:
    case msr_microcode:
    case msr_mcg_status:
    case msr_misc_enable:
    case msr_misc_features:
    case msr_perf_control:
    case msr_amd_hwcr:
    case msr_amd_de_cfg:
    case static_cast<std::uint32_t>(Msr::sysenter_cs):
    case static_cast<std::uint32_t>(Msr::sysenter_esp):
    case static_cast<std::uint32_t>(Msr::sysenter_eip): return true; // dropped
    default: return index >= msr_star && index <= msr_sfmask;        // dropped too
    }
}

} // namespace cero::arch
