// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/context/fpu.hpp>

#include <arch/x86_64/cpu/registers.hpp>

#include <cstring>

namespace cero::arch {
namespace {

// Offsets in the XSAVE area [SDM1 "XSAVE Area"].
constexpr unsigned fcw = 0, mxcsr = 24, header_bv = 512;
constexpr unsigned legacy_size = 512;
constexpr std::uint32_t allowed_mxcsr = 0xffff;

template <typename T> void put(ArchVcpu& vcpu, unsigned offset, T value) noexcept {
    std::memcpy(vcpu.fpu + offset, &value, sizeof value);
}

} // namespace

void fpu_reset(ArchVcpu& vcpu) noexcept {
    std::memset(vcpu.fpu, 0, sizeof vcpu.fpu);
    put<std::uint16_t>(vcpu, fcw, 0x37f);
    put<std::uint32_t>(vcpu, mxcsr, 0x1f80);
    vcpu.xcr0 = 1;
    vcpu.task_switched = false;
}

void fpu_save(ArchVcpu& vcpu) noexcept {
    if (vcpu.task_switched) write_cr0(read_cr0() & ~cr0::ts);
    if (!features.xsave) {
        __asm__ volatile("fxsave64 (%0)" : : "r"(vcpu.fpu) : "memory");
        return;
    }
    // XCR0 is the guest's: what it has not enabled it cannot have changed.
    if (features.xsaveopt)
        __asm__ volatile("xsaveopt64 (%0)" : : "r"(vcpu.fpu), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("xsave64 (%0)" : : "r"(vcpu.fpu), "a"(~0u), "d"(~0u) : "memory");
}

void fpu_restore(ArchVcpu& vcpu) noexcept {
    if (features.xsave) {
        // Everything that any guest may have used is loaded or initialised, then the guest's XCR0
        // set.
        write_xcr0(features.xcr0);
        __asm__ volatile("xrstor64 (%0)" : : "r"(vcpu.fpu), "a"(~0u), "d"(~0u) : "memory");
        if (vcpu.xcr0 != features.xcr0) write_xcr0(vcpu.xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(vcpu.fpu) : "memory");
    }
    if (vcpu.task_switched) write_cr0(read_cr0() | cr0::ts);
}

void fpu_get_legacy(const ArchVcpu& vcpu, void* image) noexcept { std::memcpy(image, vcpu.fpu, legacy_size); }

void fpu_set_legacy(ArchVcpu& vcpu, const void* image) noexcept {
    std::memset(vcpu.fpu, 0, sizeof vcpu.fpu);
    std::memcpy(vcpu.fpu, image, legacy_size);
    // A reserved MXCSR bit would fault in our XRSTOR.
    std::uint32_t status;
    std::memcpy(&status, vcpu.fpu + mxcsr, sizeof status);
    put<std::uint32_t>(vcpu, mxcsr, status & allowed_mxcsr);
    put<std::uint64_t>(vcpu, header_bv, 3);
}

bool fpu_set_xcr0(ArchVcpu& vcpu, std::uint64_t value) noexcept {
    constexpr std::uint64_t x87 = 1, sse = 2, avx = 4;
    if (!features.xsave || (value & x87) == 0 || (value & ~features.xcr0) != 0 ||
        ((value & avx) != 0 && (value & sse) == 0))
        return false;
    vcpu.xcr0 = value;
    write_xcr0(value);
    return true;
}

void fpu_set_task_switched(ArchVcpu& vcpu, bool on) noexcept {
    vcpu.task_switched = on;
    write_cr0(on ? read_cr0() | cr0::ts : read_cr0() & ~cr0::ts);
}

} // namespace cero::arch
