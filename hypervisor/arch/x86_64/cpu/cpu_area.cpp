// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/cpu/cpu_area.hpp>

#include <arch/api/vcpu.hpp>
#include <arch/x86_64/asm_offsets.h>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <cero/abi/hypercall.h>

#include <cstring>

extern "C" {
extern const std::uint64_t exception_stubs[32];
extern const std::uint64_t software_interrupt_stub;
extern const char interrupt_stubs[];
extern const char syscall_entry[], syscall32_entry[], sysenter_entry[];
struct PatchSite {
    std::int32_t offset;
    std::uint32_t kind; ///< 0 stac, 1 clac
};
extern const PatchSite patch_sites_start[], patch_sites_end[];
}

namespace cero::arch {
namespace {

static_assert(offsetof(PerCpu, current) == PERCPU_CURRENT && offsetof(PerCpu, regs_end) == PERCPU_REGS_END &&
              offsetof(PerCpu, stack_top) == PERCPU_STACK_TOP && offsetof(PerCpu, scratch) == PERCPU_SCRATCH &&
              offsetof(PerCpu, softirqs) == PERCPU_SOFTIRQS);
static_assert(offsetof(ArchVcpu, regs) == VCPU_R15 && offsetof(ArchVcpu, regs.r11) == VCPU_R11 &&
              offsetof(ArchVcpu, regs.rax) == VCPU_RAX && offsetof(ArchVcpu, regs.rdi) == VCPU_RDI &&
              offsetof(ArchVcpu, regs.error_code) == VCPU_ERROR && offsetof(ArchVcpu, regs.rip) == VCPU_RIP &&
              offsetof(ArchVcpu, regs.rflags) == VCPU_RFLAGS && offsetof(ArchVcpu, regs.rsp) == VCPU_RSP &&
              offsetof(ArchVcpu, info) == VCPU_INFO && offsetof(ArchVcpu, exit_work) == VCPU_EXIT_WORK &&
              offsetof(ArchVcpu, user_mode) == VCPU_USER_MODE && offsetof(ArchVcpu, regs.cs) == VCPU_CS &&
              offsetof(ArchVcpu, regs.ss) == VCPU_SS && offsetof(ArchVcpu, info) == VCPU_REGS_END &&
              offsetof(ArchVcpu, nmi_masked) == VCPU_NMI_MASKED && offsetof(ArchVcpu, kernel_cr3) == VCPU_KERNEL_CR3 &&
              offsetof(ArchVcpu, user_cr3) == VCPU_USER_CR3 && offsetof(ArchVcpu, kernel_sp) == VCPU_KERNEL_SP &&
              offsetof(ArchVcpu, syscall.address) == VCPU_SYSCALL &&
              offsetof(ArchVcpu, syscall.mask_events) == VCPU_SYSCALL_MASKS &&
              offsetof(ArchVcpu, gs_base_inactive) == VCPU_GS_BASE_INACTIVE && offsetof(ArchVcpu, cr4) == VCPU_CR4);
static_assert(RFLAGS_ALWAYS == (rflags::interrupt | rflags::fixed) && RFLAGS_NEVER == (rflags::iopl | rflags::vm) &&
              RFLAGS_CLEARED_BY_SYSCALL ==
                  (rflags::ac | rflags::vm | rflags::rf | rflags::nt | rflags::df | rflags::tf));
static_assert(CERO_HYPERCALL_iret == HYPERCALL_IRET && CERO_VGCF_in_syscall == IRET_IN_SYSCALL &&
              cr4::fsgsbase == CR4_FSGSBASE && CERO_HYPERVISOR_VIRT_START >> HYPERVISOR_HOLE_SHIFT == HYPERVISOR_HOLE &&
              CERO_HYPERVISOR_VIRT_END - CERO_HYPERVISOR_VIRT_START == 1ull << HYPERVISOR_HOLE_SHIFT);

struct [[gnu::packed]] DescriptorPointer {
    std::uint16_t limit;
    std::uint64_t base;
};
struct IdtEntry {
    std::uint64_t low, high;
};
static_assert(sizeof(CpuArea) <= 2 * page_size);

alignas(4096) IdtEntry idt[256];

enum Ist : unsigned { ist_nmi = 1, ist_mce = 2, ist_df = 3, ist_db = 4 };

void set_gate(unsigned vector, std::uint64_t handler, unsigned dpl, unsigned ist) noexcept {
    constexpr std::uint64_t interrupt_gate = 0x8e00;
    idt[vector].low = (handler & 0xffff) | static_cast<std::uint64_t>(CERO_SEL_HV_CS) << 16 |
                      static_cast<std::uint64_t>(ist) << 32 |
                      (interrupt_gate | static_cast<std::uint64_t>(dpl) << 13) << 32 | (handler >> 16 & 0xffff) << 48;
    idt[vector].high = handler >> 32;
}

/// The hypervisor's page of the GDT window. Accessed bits are set, so that the CPU does not write.
void fill_gdt_page(std::uint64_t* page, std::uint64_t tss) noexcept {
    page[1] = 0x00af9b000000ffff; // ring 0 code
    page[2] = 0x00cf93000000ffff; // ring 0 data
    page[4] = 0x00cffb000000ffff; // ring 3 code, 32 bit
    page[5] = 0x00cff3000000ffff; // ring 3 data
    page[6] = 0x00affb000000ffff; // ring 3 code, 64 bit
    const std::uint64_t limit = sizeof(Tss) - 1;
    page[8] = limit | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    page[9] = tss >> 32;
}

void map_pages(std::uint64_t address, std::uint64_t count) noexcept {
    for (std::uint64_t n = 0; n < count; ++n) map_hypervisor_page(address + n * page_size, early_pages(1), pte::data);
}

std::uint64_t zero_page; ///< physical; what unused GDT pages show

} // namespace

void make_cpu_area(std::uint32_t cpu, std::uint32_t apic_id) noexcept {
    if (zero_page == 0) zero_page = early_pages(1);
    CpuArea& area = area_of(cpu);
    map_pages(cpu_area_address(cpu), (sizeof(CpuArea) + page_size - 1) / page_size);
    map_pages(area_page(area, CERO_CPU_PAGE_STACK), CERO_CPU_STACK_PAGES);
    constexpr unsigned single_pages[] = {CERO_CPU_PAGE_NMI, CERO_CPU_PAGE_MCE, CERO_CPU_PAGE_DF,
                                         CERO_CPU_PAGE_GDT + gdt_guest_pages};
    for (const unsigned page : single_pages) map_pages(area_page(area, page), 1);
    for (unsigned n = 0; n < gdt_guest_pages; ++n)
        map_hypervisor_page(area_page(area, CERO_CPU_PAGE_GDT + n), zero_page, pte::read_only & ~pte::global);
    fill_gdt_page(reinterpret_cast<std::uint64_t*>(area_page(area, CERO_CPU_PAGE_GDT + gdt_guest_pages)),
                  reinterpret_cast<std::uint64_t>(&area.tss));
    area.cpu.self = &area.cpu;
    area.cpu.id = cpu;
    area.cpu.apic_id = apic_id;
    area.cpu.stack_top = area_page(area, CERO_CPU_PAGE_STACK + CERO_CPU_STACK_PAGES);
    area.tss.io_map = sizeof(Tss);
    area.tss.rsp0 = area.cpu.stack_top;
    const auto top = [&](unsigned page) { return area_page(area, page + 1); };
    area.tss.ist[ist_nmi - 1] = top(CERO_CPU_PAGE_NMI);
    area.tss.ist[ist_mce - 1] = top(CERO_CPU_PAGE_MCE);
    area.tss.ist[ist_df - 1] = top(CERO_CPU_PAGE_DF);
    area.tss.ist[ist_db - 1] = top(CERO_CPU_PAGE_MCE); // never both: #MC does not return
}

void build_idt() noexcept {
    for (unsigned vector = 0; vector < 32; ++vector) {
        const unsigned ist = vector == 1    ? ist_db
                             : vector == 2  ? ist_nmi
                             : vector == 8  ? ist_df
                             : vector == 18 ? ist_mce
                                            : 0u;
        set_gate(vector, exception_stubs[vector], vector == 3 || vector == 4 ? 3 : 0, ist);
    }
    for (unsigned vector = 32; vector < 256; ++vector)
        set_gate(vector, reinterpret_cast<std::uint64_t>(interrupt_stubs) + (vector - 32) * 16ull, 0, 0);
    set_gate(0x80, software_interrupt_stub, 3, 0);
}

void load_cpu_state(CpuArea& area) noexcept {
    const DescriptorPointer gdt{(gdt_guest_pages + 1) * 4096 - 1, area_page(area, CERO_CPU_PAGE_GDT)};
    const DescriptorPointer idt_pointer{sizeof(idt) - 1, reinterpret_cast<std::uint64_t>(idt)};
    __asm__ volatile("lgdt %0\n\t"
                     "lidt %1\n\t"
                     "pushq %2\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %3, %%ss\n\t"
                     "movl %4, %%ds\n\t"
                     "movl %4, %%es\n\t"
                     "movl %4, %%fs\n\t"
                     "movl %4, %%gs\n\t"
                     "lldt %w4\n\t"
                     "ltr %w5"
                     :
                     : "m"(gdt), "m"(idt_pointer), "i"(CERO_SEL_HV_CS), "r"(CERO_SEL_HV_SS), "r"(0), "r"(CERO_SEL_TSS)
                     : "rax", "memory");
    write_msr(Msr::gs_base, reinterpret_cast<std::uint64_t>(&area));
    write_msr(Msr::kernel_gs_base, 0);

    constexpr std::uint64_t cleared =
        rflags::tf | rflags::interrupt | rflags::df | rflags::iopl | rflags::nt | rflags::rf | rflags::ac;
    write_msr(Msr::star,
              static_cast<std::uint64_t>(CERO_SEL_RING3_CS32) << 48 | static_cast<std::uint64_t>(CERO_SEL_HV_CS) << 32);
    write_msr(Msr::lstar, reinterpret_cast<std::uint64_t>(syscall_entry));
    write_msr(Msr::cstar, reinterpret_cast<std::uint64_t>(syscall32_entry));
    write_msr(Msr::sfmask, cleared);
    write_msr(Msr::efer, read_msr(Msr::efer) | 1); // SCE
    write_msr(Msr::sysenter_cs, CERO_SEL_HV_CS);
    write_msr(Msr::sysenter_eip, reinterpret_cast<std::uint64_t>(sysenter_entry)); // which takes its stack itself
    write_msr(Msr::pat, pat_value);

    write_cr0((read_cr0() | cr0::wp | cr0::mp | cr0::ne | cr0::am) & ~(cr0::ts | cr0::em));
    std::uint64_t bits = cr4::pae | cr4::pge | cr4::osfxsr | cr4::osxmmexcpt | cr4::de;
    bits |= features.xsave ? cr4::osxsave : 0;
    bits |= features.smep ? cr4::smep : 0;
    bits |= features.smap ? cr4::smap : 0;
    write_cr4(bits | cr4::mce);
    if (features.xsave) write_xcr0(features.xcr0);
}

void apply_patch_sites() noexcept {
    static constexpr unsigned char code[2][3] = {{0x0f, 0x01, 0xcb}, {0x0f, 0x01, 0xca}};
    if (!features.smap) return;
    for (const PatchSite* site = patch_sites_start; site < patch_sites_end; ++site) {
        auto* at = const_cast<char*>(reinterpret_cast<const char*>(site)) + site->offset;
        std::memcpy(at, code[site->kind & 1], 3);
    }
}

PerCpu& cpu_area(CpuId cpu) noexcept { return area_of(cpu.raw()).cpu; }

} // namespace cero::arch
