// SPDX-License-Identifier: BSD-2-Clause
// What:   privileged instructions in guest kernel mode, and CPUID.
// Why:    kernels of this ABI still execute some of them; each must do what the ABI says or fault
// cleanly. How:    executes each, in kernel and in user mode. Expect: as documented in
// docs/abi/instructions.md.
#include "runtime.hpp"

using namespace guest;

namespace {

struct Cpuid {
    std::uint32_t a, b, c, d;
};

Cpuid cpuid(std::uint32_t leaf, std::uint32_t sub = 0) {
    Cpuid r{};
    asm volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid"
                 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                 : "0"(leaf), "2"(sub));
    return r;
}

Word rdmsr(std::uint32_t msr) {
    std::uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return static_cast<Word>(high) << 32 | low;
}
void wrmsr(std::uint32_t msr, Word value) {
    asm volatile("wrmsr"
                 :
                 : "c"(msr), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

constexpr std::uint32_t msr_fs_base = 0xc0000100, msr_gs_base = 0xc0000101,
                        msr_kernel_gs = 0xc0000102, msr_efer = 0xc0000080, msr_pat = 0x277;

void cpu_identification() {
    const Cpuid base = cpuid(CERO_CPUID_BASE);
    check_equal("signature, first part", base.b, CERO_CPUID_SIGNATURE_EBX);
    check_equal("signature, second part", base.c, CERO_CPUID_SIGNATURE_ECX);
    check_equal("signature, third part", base.d, CERO_CPUID_SIGNATURE_EDX);
    check_true("at least two leaves follow", base.a >= CERO_CPUID_BASE + 2);
    check_equal("version", cpuid(CERO_CPUID_BASE + 1).a,
                static_cast<long>(xen_version(CERO_XENVER_version)));
    const Cpuid one = cpuid(1);
    check_equal("hypervisor present", one.c >> 31 & 1, 1);
    check_equal("no PSE", one.d >> 3 & 1, 0);
    check_equal("no PGE", one.d >> 13 & 1, 0);
    check_equal("no VME", one.d >> 1 & 1, 0);
    check_equal("no MONITOR", one.c >> 3 & 1, 0);
    check_equal("no VMX", one.c >> 5 & 1, 0);
    check_equal("no PCID", one.c >> 17 & 1, 0);
    check_equal("FXSR", one.d >> 24 & 1, 1);
    const Cpuid extended = cpuid(0x80000001);
    check_equal("long mode", extended.d >> 29 & 1, 1);
    check_equal("no 1 GiB pages", extended.d >> 26 & 1, 0);
    check_equal("no SVM", extended.c >> 2 & 1, 0);
    check_equal("NX", extended.d >> 20 & 1, 1);
    const Cpuid seven = cpuid(7);
    check_equal("no SMEP", seven.b >> 7 & 1, 0);
    check_equal("no SMAP", seven.b >> 20 & 1, 0);
    check_equal("no INVPCID", seven.b >> 10 & 1, 0);
    if ((one.c >> 26 & 1) != 0)
        check_equal("XSAVE is shown with OSXSAVE", one.c >> 27 & 1, 1);
    check_trap("the prefix without its CPUID",
               guarded([] { asm volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; nop"); }),
               invalid_opcode);
}

void model_specific_registers() {
    static Word word = 0x99;
    check_true("wrmsr FS base", !guarded([] { wrmsr(msr_fs_base, address(&word)); }).happened());
    Word value;
    asm volatile("mov %%fs:0, %0" : "=r"(value));
    check_equal("it acts", static_cast<long>(value), 0x99);
    check_true("wrmsr GS base", !guarded([] { wrmsr(msr_gs_base, address(&word)); }).happened());
    asm volatile("mov %%gs:0, %0" : "=r"(value));
    check_equal("it acts", static_cast<long>(value), 0x99);
    check_true("wrmsr of the other GS base",
               !guarded([] { wrmsr(msr_kernel_gs, 0x1000); }).happened());
    check_equal("rdmsr FS base", static_cast<long>(rdmsr(msr_fs_base)),
                static_cast<long>(address(&word)));
    check_equal("rdmsr of the other GS base", static_cast<long>(rdmsr(msr_kernel_gs)), 0x1000);
    wrmsr(msr_fs_base, 0);
    wrmsr(msr_gs_base, 0);
    check_trap("non-canonical GS base", guarded([] { wrmsr(msr_gs_base, noncanonical_address); }),
               general_protection, 0);
    const Word efer = rdmsr(msr_efer);
    check_equal("EFER: long mode, system calls, NX", static_cast<long>(efer & 0xd01), 0xd01);
    check_equal("PAT as documented", static_cast<long>(rdmsr(msr_pat)), 0x0000050100070406);
    check_trap("MSR that does not exist", guarded([] { (void)rdmsr(0x12345678); }),
               general_protection, 0);
    check_trap("write to an MSR that does not exist", guarded([] { wrmsr(0x12345678, 0); }),
               general_protection, 0);
    check_trap("rdmsr in user mode", run_user([](Word) { (void)rdmsr(msr_efer); }, 0),
               general_protection, 0);
}

void control_registers() {
    Word cr0 = 0, cr3 = 0, cr4 = 0;
    check_true("mov from cr0", !guarded([&] {
                                    asm volatile("mov %%cr0, %0" : "=r"(cr0));
                                }).happened());
    check_equal("cr0: PE, PG, WP", static_cast<long>(cr0 & 0x80010001), 0x80010001);
    check_true("mov to cr0, TS set", !guarded([&] {
                                          asm volatile("mov %0, %%cr0" : : "r"(cr0 | 8));
                                      }).happened());
    check_trap("FPU instruction", guarded([] { asm volatile("fninit"); }), device_not_available);
    check_true("clts", !guarded([] { asm volatile("clts"); }).happened());
    check_true("FPU instruction", !guarded([] { asm volatile("fninit"); }).happened());
    check_trap("mov to cr0, paging off", guarded([&] {
                   asm volatile("mov %0, %%cr0" : : "r"(cr0 & ~0x80000000));
               }),
               general_protection, 0);
    check_true("mov from cr3", !guarded([&] {
                                    asm volatile("mov %%cr3, %0" : "=r"(cr3));
                                }).happened());
    check_equal("cr3: the level-4 table", static_cast<long>(cr3 >> 12),
                static_cast<long>(mfn_of(entry_of(0, 4))));
    check_true("mov to cr3", !guarded([&] {
                                  asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
                              }).happened());
    check_true("mov from cr4", !guarded([&] {
                                    asm volatile("mov %%cr4, %0" : "=r"(cr4));
                                }).happened());
    check_true("mov to cr4, unchanged", !guarded([&] {
                                             asm volatile("mov %0, %%cr4" : : "r"(cr4));
                                         }).happened());
    check_trap("page fault",
               guarded([] { (void)*reinterpret_cast<volatile int*>(unmapped_address); }),
               page_fault);
    Word cr2 = 0;
    check_true("mov from cr2", !guarded([&] {
                                    asm volatile("mov %%cr2, %0" : "=r"(cr2));
                                }).happened());
    check_equal("cr2 is the address of the last fault", static_cast<long>(cr2),
                static_cast<long>(unmapped_address));
    check_trap("mov from cr0 in user mode",
               run_user(
                   [](Word) {
                       Word value;
                       asm volatile("mov %%cr0, %0" : "=r"(value));
                   },
                   0),
               general_protection, 0);
}

void ports_and_others() {
    cero_physdev_set_iopl iopl{1};
    check_equal("set_iopl 1", physdev_op(CERO_PHYSDEVOP_set_iopl, &iopl), 0);
    std::uint8_t byte = 0;
    // Port 0xed is nobody's.
    check_true("in", !guarded([&] { asm volatile("inb $0xed, %0" : "=a"(byte)); }).happened());
    check_true("out", !guarded([] {
                           asm volatile("outb %0, $0xed" : : "a"(std::uint8_t{0}));
                       }).happened());
    check_trap("in, in user mode",
               run_user(
                   [](Word) {
                       std::uint8_t value;
                       asm volatile("inb $0xed, %0" : "=a"(value));
                   },
                   0),
               general_protection, 0);
    check_true("wbinvd", !guarded([] { asm volatile("wbinvd"); }).happened());
    check_trap("wbinvd in user mode", run_user([](Word) { asm volatile("wbinvd"); }, 0),
               general_protection, 0);
    check_trap("lgdt", guarded([] {
                   std::uint16_t table[5] = {};
                   asm volatile("lgdt %0" : : "m"(table));
               }),
               general_protection, 0);
    check_trap("ltr", guarded([] { asm volatile("ltr %%ax" : : "a"(0x8)); }), general_protection);
    check_trap("invlpg", guarded([] {
                   asm volatile("invlpg (%0)" : : "r"(&shared_info));
               }),
               general_protection, 0);
    check_trap("swapgs", guarded([] { asm volatile("swapgs"); }), general_protection, 0);
    check_trap("sysretq", guarded([] { asm volatile("sysretq"); }), general_protection, 0);
    Word before = read_tsc();
    check_true("rdtsc goes on", read_tsc() > before);
    check_true("cli with iopl 1", !guarded([] { asm volatile("cli"); }).happened());
    check_true("sti with iopl 1", !guarded([] { asm volatile("sti"); }).happened());
}

} // namespace

void guest::test_main() {
    cpu_identification();
    model_specific_registers();
    control_registers();
    ports_and_others();
}
