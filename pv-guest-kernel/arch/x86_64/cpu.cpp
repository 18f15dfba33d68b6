// SPDX-License-Identifier: BSD-2-Clause
// What the CPU is and can do, as the hypervisor lets this domain see it: random numbers,
// /proc/cpuinfo.
#include "arch/x86_64/cpu.hpp"

#include "fs/procfs.hpp"
#include "fs/random.hpp"

#include <cero/abi/hypercall.h>

#include <cstring>

namespace kernel {

namespace {

/// The words that Linux has for the bits of one CPUID register; nullptr: none, or not for user
/// space.
struct FeatureWord {
    std::uint32_t leaf;
    std::uint32_t CpuidResult::*bits;
    const char* names[32];
};

// [Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E]
constexpr FeatureWord feature_words[] = {
    {1, &CpuidResult::edx, {"fpu",  "vme",   "de",    "pse",     "tsc",   "msr", "pae",  "mce",
                            "cx8",  "apic",  nullptr, "sep",     "mtrr",  "pge", "mca",  "cmov",
                            "pat",  "pse36", "pn",    "clflush", nullptr, "dts", "acpi", "mmx",
                            "fxsr", "sse",   "sse2",  "ss",      "ht",    "tm",  "ia64", "pbe"}},
    {1, &CpuidResult::ecx, {"pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
                            "vmx",    "smx",       "est",    "tm2",     "ssse3",
                            "cid",    "sdbg",      "fma",    "cx16",    "xtpr",
                            "pdcm",   nullptr,     "pcid",   "dca",     "sse4_1",
                            "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
                            "aes",    "xsave",     nullptr,  "avx",     "f16c",
                            "rdrand", "hypervisor"}},
    {0x80000001,
     &CpuidResult::edx,
     {nullptr, nullptr,    nullptr,   nullptr,   nullptr, nullptr, nullptr,    nullptr,
      nullptr, nullptr,    nullptr,   "syscall", nullptr, nullptr, nullptr,    nullptr,
      nullptr, nullptr,    nullptr,   nullptr,   "nx",    nullptr, "mmxext",   nullptr,
      nullptr, "fxsr_opt", "pdpe1gb", "rdtscp",  nullptr, "lm",    "3dnowext", "3dnow"}},
    {0x80000001,
     &CpuidResult::ecx,
     {"lahf_lm", "cmp_legacy", "svm", "extapic", "cr8_legacy", "abm", "sse4a", "misalignsse",
      "3dnowprefetch", "osvw"}},
    {7,
     &CpuidResult::ebx,
     {"fsgsbase",   "tsc_adjust", "sgx",        "bmi1",     "hle",      "avx2",     nullptr,
      "smep",       "bmi2",       "erms",       "invpcid",  "rtm",      "cqm",      nullptr,
      "mpx",        "rdt_a",      "avx512f",    "avx512dq", "rdseed",   "adx",      "smap",
      "avx512ifma", nullptr,      "clflushopt", "clwb",     "intel_pt", "avx512pf", "avx512er",
      "avx512cd",   "sha_ni",     "avx512bw",   "avx512vl"}},
};

/// The brand string of leaves 0x80000002 to 0x80000004, without the blanks in front.
class Brand {
public:
    Brand() noexcept {
        if (cpuid(0x80000000).eax < 0x80000004)
            return;
        for (std::uint32_t i = 0; i < 3; ++i) {
            const CpuidResult part = cpuid(0x80000002 + i);
            std::memcpy(text_ + i * 16, &part, 16);
        }
    }
    [[nodiscard]] const char* text() const noexcept {
        const char* begin = text_;
        while (*begin == ' ')
            ++begin;
        return begin;
    }

private:
    char text_[49]{};
};

/// Leaf 3 of the hypervisor's range holds the TSC's frequency [docs/abi/cpu.md]; it need not begin
/// at its usual place.
std::uint32_t tsc_khz() noexcept {
    for (std::uint32_t base = 0x40000000; base < 0x40010000; base += 0x100) {
        const CpuidResult signature = cpuid(base);
        if (signature.ebx == CERO_CPUID_SIGNATURE_EBX &&
            signature.ecx == CERO_CPUID_SIGNATURE_ECX && signature.edx == CERO_CPUID_SIGNATURE_EDX)
            return signature.eax >= base + 3 ? cpuid(base + 3).ecx : 0;
    }
    return 0;
}

} // namespace

std::uint64_t hardware_random() noexcept {
    constexpr std::uint32_t rdrand = 1U << 30U;
    std::uint64_t value = 0;
    if ((cpuid(1).ecx & rdrand) != 0)
        __asm__ volatile("rdrand %0" : "=r"(value) : : "cc");
    return value;
}

namespace procfs {

void generate_cpuinfo(Text& out, generated::Key) noexcept {
    const CpuidResult vendor = cpuid(0);
    const CpuidResult version = cpuid(1);
    char name[13] = {};
    std::memcpy(name, &vendor.ebx, 4);
    std::memcpy(name + 4, &vendor.edx, 4);
    std::memcpy(name + 8, &vendor.ecx, 4);
    std::uint32_t family = version.eax >> 8U & 15U;
    std::uint32_t model = version.eax >> 4U & 15U;
    if (family == 6 || family == 15)
        model |= version.eax >> 12U & 0xf0U;
    if (family == 15)
        family += version.eax >> 20U & 0xffU;
    out.format(
        "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n",
        name, family, model, Brand{}.text());
    const std::uint32_t khz = tsc_khz();
    out.format("stepping\t: %u\ncpu MHz\t\t: %u.%03u\nflags\t\t:", version.eax & 15U, khz / 1000,
               khz % 1000);
    for (const FeatureWord& word : feature_words) {
        if (cpuid(word.leaf & 0x80000000).eax < word.leaf)
            continue;
        const CpuidResult leaf = cpuid(word.leaf);
        for (unsigned bit = 0; bit < 32; ++bit)
            if (word.names[bit] != nullptr && (leaf.*word.bits >> bit & 1U) != 0)
                out.format(" %s", word.names[bit]);
    }
    // Twice the frequency of the counter that delays are made of, as in Linux.
    out.format("\nbogomips\t: %u.%02u\n\n", khz / 500, khz / 5 % 100);
}

} // namespace procfs

} // namespace kernel
