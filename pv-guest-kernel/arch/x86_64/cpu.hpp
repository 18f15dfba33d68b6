// SPDX-License-Identifier: BSD-2-Clause
// Instructions that C++ has no words for.
#pragma once

#include <cstdint>

namespace kernel {

struct CpuidResult {
    std::uint32_t eax, ebx, ecx, edx;
};
/// As the hypervisor lets this domain see it (prefix for forced emulation).
inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) noexcept {
    CpuidResult r;
    __asm__ volatile("ud2\n\t.ascii \"xen\"\n\tcpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}
inline std::uint64_t read_tsc() noexcept {
    std::uint32_t low;
    std::uint32_t high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (static_cast<std::uint64_t>(high) << 32) | low;
}
inline std::uintptr_t stack_pointer() noexcept {
    std::uintptr_t value;
    __asm__ volatile("mov %%rsp, %0" : "=r"(value));
    return value;
}
inline void barrier() noexcept {
    __asm__ volatile("" ::: "memory");
}
inline void cpu_relax() noexcept {
    __asm__ volatile("pause");
}

} // namespace kernel
