// SPDX-License-Identifier: BSD-2-Clause
// Model-specific registers as guests see them: those that PV kernels touch, #GP for the rest.
#include <arch/x86_64/guest/policy.hpp>

#include <arch/api/clock.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t svme = 1ull << 12;
constexpr std::uint64_t apic_base_value = 0xfee00800, apic_base_boot = 0x100;
constexpr std::uint32_t microcode = 0x8b, mcg_status = 0x17a;

/// Constant answers. `drops`: a write is swallowed, else #GP.
struct Constant {
    std::uint32_t index;
    bool drops;
    std::uint64_t value;
};
constexpr Constant constants[] = {
    {0x17, false, 0},                                                // platform id
    {0x3a, false, 1},                                                // feature control: locked
    {microcode, true, 0},  {0xce, false, 0},                         // platform information
    {0x140, true, 0},                                                // miscellaneous features
    {0x174, true, 0},      {0x175, true, 0},       {0x176, true, 0}, // SYSENTER
    {0x179, false, 0},     {mcg_status, true, 0},                    // machine check: no banks
    {0x198, false, 0},     {0x199, true, 0},                         // performance status and control
    {0x1a0, true, 0},                                                // miscellaneous enables
    {0x345, false, 0},                                               // performance capabilities
    {0xc0000081, true, 0}, {0xc0000082, true, 0},                    // STAR, LSTAR
    {0xc0000083, true, 0}, {0xc0000084, true, 0},                    // CSTAR, SFMASK
    {0xc0010015, true, 0}, {0xc001001f, false, 0},                   // AMD: HWCR, NB_CFG
    {0xc0011029, true, 2},                                           // AMD DE_CFG: LFENCE serialises
};

const Constant* find_constant(std::uint32_t index) noexcept {
    for (const Constant& constant : constants)
        if (constant.index == index) return &constant;
    return nullptr;
}

} // namespace

bool guest_read_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t& value) noexcept {
    switch (Msr{index}) {
    case Msr::fs_base: value = read_msr(Msr::fs_base); return true;
    case Msr::gs_base: value = read_msr(Msr::kernel_gs_base); return true; // swapped while we run
    case Msr::kernel_gs_base: value = vcpu.arch.gs_base_inactive; return true;
    case Msr::efer: value = read_msr(Msr::efer) & ~svme; return true;
    case Msr::tsc: value = read_tsc(); return true;
    case Msr::pat: value = pat_value; return true;
    case Msr::apic_base: value = apic_base_value | (vcpu.id.raw() == 0 ? apic_base_boot : 0); return true;
    default: break;
    }
    const Constant* constant = find_constant(index);
    if (constant == nullptr) return false;
    value = constant->value;
    return true;
}

bool guest_write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept {
    const Msr msr{index};
    if (msr == Msr::fs_base || msr == Msr::gs_base || msr == Msr::kernel_gs_base) {
        if (!is_canonical(value)) return false;
        if (msr == Msr::kernel_gs_base)
            vcpu.arch.gs_base_inactive = value;
        else
            write_msr(msr == Msr::fs_base ? Msr::fs_base : Msr::kernel_gs_base, value);
        return true;
    }
    if (msr == Msr::efer) return value == (read_msr(Msr::efer) & ~svme);
    if (msr == Msr::pat) return value == pat_value;
    const Constant* constant = find_constant(index);
    return msr == Msr::tsc || (constant != nullptr && constant->drops);
}

} // namespace cero::arch
