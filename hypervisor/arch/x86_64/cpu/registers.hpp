// SPDX-License-Identifier: BSD-2-Clause
// Control registers, model-specific registers, CPUID, and their bits.
#pragma once

#include <cstdint>

namespace cero::arch {

enum class Msr : std::uint32_t {
    tsc = 0x10,
    apic_base = 0x1b,
    tsc_deadline = 0x6e0,
    pat = 0x277,
    sysenter_cs = 0x174,
    sysenter_eip = 0x176,
    efer = 0xc0000080,
    star = 0xc0000081,
    lstar = 0xc0000082,
    cstar = 0xc0000083,
    sfmask = 0xc0000084,
    fs_base = 0xc0000100,
    gs_base = 0xc0000101,
    kernel_gs_base = 0xc0000102,
};

inline std::uint64_t read_msr(Msr msr) noexcept {
    std::uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(static_cast<std::uint32_t>(msr)));
    return static_cast<std::uint64_t>(high) << 32 | low;
}
inline void write_msr(Msr msr, std::uint64_t value) noexcept {
    __asm__ volatile("wrmsr"
                     :
                     : "c"(static_cast<std::uint32_t>(msr)), "a"(static_cast<std::uint32_t>(value)),
                       "d"(static_cast<std::uint32_t>(value >> 32))
                     : "memory");
}

struct CpuidResult {
    std::uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) noexcept {
    CpuidResult r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

namespace cr0 {
inline constexpr std::uint64_t pe = 1, mp = 2, em = 4, ts = 8, et = 16, ne = 32, wp = 1u << 16, am = 1u << 18,
                               pg = 1u << 31;
} // namespace cr0
namespace cr4 {
inline constexpr std::uint64_t tsd = 1u << 2, de = 1u << 3, pae = 1u << 5, mce = 1u << 6, pge = 1u << 7,
                               osfxsr = 1u << 9, osxmmexcpt = 1u << 10, fsgsbase = 1u << 16, osxsave = 1u << 18,
                               smep = 1u << 20, smap = 1u << 21;
} // namespace cr4
namespace rflags {
inline constexpr std::uint64_t cf = 1, fixed = 2, pf = 4, af = 0x10, zf = 0x40, sf = 0x80, tf = 0x100,
                               interrupt = 0x200, df = 0x400, of = 0x800, iopl = 0x3000, nt = 0x4000, rf = 0x10000,
                               vm = 0x20000, ac = 0x40000, id = 0x200000;
} // namespace rflags

#define CERO_CONTROL_REGISTER(name)                                                                                    \
    inline std::uint64_t read_##name() noexcept {                                                                      \
        std::uint64_t value;                                                                                           \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));                                                         \
        return value;                                                                                                  \
    }                                                                                                                  \
    inline void write_##name(std::uint64_t value) noexcept {                                                           \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");                                                \
    }
CERO_CONTROL_REGISTER(cr0)
CERO_CONTROL_REGISTER(cr2)
CERO_CONTROL_REGISTER(cr3)
CERO_CONTROL_REGISTER(cr4)
#undef CERO_CONTROL_REGISTER

/// The PAT of the ABI (pv-abi-facts C.10), which guests read.
inline constexpr std::uint64_t pat_value = 0x0000050100070406;

/// Loads the GS base of the guest, which is the swapped one while the hypervisor runs; yields the old one.
/// Preconditions: CR4.FSGSBASE; the base is canonical.
inline std::uint64_t exchange_guest_gs_base(std::uint64_t base) noexcept {
    std::uint64_t old;
    __asm__ volatile("swapgs; rdgsbase %0; wrgsbase %1; swapgs" : "=&r"(old) : "r"(base) : "memory");
    return old;
}

/// A trap without a descriptor table: the CPU shuts down, which resets a PC.
inline void triple_fault() noexcept {
    struct [[gnu::packed]] {
        std::uint16_t limit;
        std::uint64_t base;
    } const no_idt{0, 0};
    __asm__ volatile("lidt %0; int3" : : "m"(no_idt));
}

/// Leaves the present stack for good.
[[noreturn]] inline void continue_on_stack(std::uint64_t top, void (*next)() noexcept) noexcept {
    __asm__ volatile("mov %0, %%rsp; xor %%ebp, %%ebp; call *%1" : : "r"(top), "r"(next) : "memory");
    __builtin_unreachable();
}

inline void write_xcr0(std::uint64_t value) noexcept {
    __asm__ volatile("xsetbv"
                     :
                     : "c"(0), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32)));
}

/// Whether the address has the form of a 48-bit virtual address.
constexpr bool is_canonical(std::uint64_t address) noexcept {
    return (static_cast<std::int64_t>(address << 16) >> 16) == static_cast<std::int64_t>(address);
}

/// Features of the boot CPU that this code uses; all CPUs are alike.
struct CpuFeatures {
    bool xsave, xsaveopt, smep, smap, fsgsbase, x2apic, tsc_deadline, invariant_tsc, pages_1g;
    std::uint32_t max_leaf, max_extended_leaf;
    std::uint64_t xcr0;     ///< what guests may switch on
    unsigned physical_bits; ///< of an address; an entry with more is a fault
};
extern CpuFeatures features;
void detect_features() noexcept;

} // namespace cero::arch
