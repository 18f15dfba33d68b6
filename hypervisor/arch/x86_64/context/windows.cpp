// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/context/windows.hpp>

#include <arch/api/context.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/tlb.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <core/domain/vcpu.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t window_flags = pte::data & ~pte::global;

/// Writes a descriptor into the hypervisor's page of this CPU's GDT.
void set_ldt_descriptor(CpuArea& area, std::uint32_t entries) noexcept {
    auto* page = reinterpret_cast<std::uint64_t*>(area_page(area, CERO_CPU_PAGE_GDT + gdt_guest_pages));
    constexpr unsigned index = (CERO_SEL_LDT & 0xfff) / 8;
    const std::uint64_t base = area_page(area, CERO_CPU_PAGE_LDT);
    const std::uint64_t limit = entries * 8ull - 1;
    page[index] = (limit & 0xffff) | (base & 0xffffff) << 16 | 0x82ull << 40 | (limit >> 16 & 15) << 48 |
                  (base >> 24 & 0xff) << 56;
    page[index + 1] = base >> 32;
}

} // namespace

void show_gdt(const Vcpu& vcpu, bool flush) noexcept {
    static std::uint64_t empty_entry; // what make_cpu_area() put into every unused place
    CpuArea& area = this_area();
    const unsigned pages = (vcpu.arch.gdt_entries + 511) / 512;
    for (unsigned n = 0; n < gdt_guest_pages; ++n) {
        const std::uint64_t wanted = n < pages ? to_phys(vcpu.arch.gdt_frames[n]).raw() | window_flags : 0;
        if (area.loaded_gdt[n] == wanted) continue;
        const std::uint64_t address = area_page(area, CERO_CPU_PAGE_GDT + n);
        std::uint64_t* entry = hypervisor_entry(address);
        if (empty_entry == 0 && area.loaded_gdt[n] == 0) empty_entry = *entry;
        *entry = wanted == 0 ? empty_entry : wanted;
        area.loaded_gdt[n] = wanted;
        if (flush) tlb_flush_local_page(GuestVirt{address});
    }
}

void show_ldt(Vcpu& vcpu, bool flush) noexcept {
    CpuArea& area = this_area();
    const ArchVcpu& arch = vcpu.arch;
    if (area.loaded_ldt_pages != 0 || arch.ldt_mapped != 0) {
        for (unsigned n = 0; n < ldt_pages; ++n) {
            const bool wanted = (arch.ldt_mapped >> n & 1) != 0;
            const std::uint64_t address = area_page(area, CERO_CPU_PAGE_LDT + n);
            *hypervisor_entry(address) = wanted ? to_phys(arch.ldt_frames[n]).raw() | window_flags : 0;
            if (flush) tlb_flush_local_page(GuestVirt{address});
        }
        area.loaded_ldt_pages = static_cast<std::uint16_t>(arch.ldt_mapped);
    }
    set_ldt_descriptor(area, arch.ldt_entries == 0 ? 1 : arch.ldt_entries);
    __asm__ volatile("lldt %w0" : : "r"(arch.ldt_entries == 0 ? 0 : CERO_SEL_LDT) : "memory");
}

bool in_ldt_window(std::uint64_t address) noexcept {
    return address - area_page(this_area(), CERO_CPU_PAGE_LDT) < ldt_pages * page_size;
}

bool map_ldt_page(Vcpu& vcpu, std::uint64_t address) noexcept {
    CpuArea& area = this_area();
    ArchVcpu& arch = vcpu.arch;
    const auto page = static_cast<unsigned>((address - area_page(area, CERO_CPU_PAGE_LDT)) >> page_shift);
    if (page >= ldt_pages || page * 512 >= arch.ldt_entries) return false;
    if ((arch.ldt_mapped >> page & 1) == 0) {
        const Result<MachineFrame> frame = core::ldt_page(vcpu, page);
        if (!frame) return false;
        arch.ldt_frames[page] = *frame;
        arch.ldt_mapped |= 1u << page;
    }
    *hypervisor_entry(area_page(area, CERO_CPU_PAGE_LDT + page)) = to_phys(arch.ldt_frames[page]).raw() | window_flags;
    area.loaded_ldt_pages = static_cast<std::uint16_t>(arch.ldt_mapped);
    return true;
}

bool load_selector(Vcpu& vcpu, std::uint64_t (*load)(std::uint16_t), std::uint16_t selector) noexcept {
    constexpr std::uint16_t in_ldt = 4;
    const std::uint64_t offset = selector & ~7ull;
    if ((selector & in_ldt) != 0)
        static_cast<void>(map_ldt_page(vcpu, area_page(this_area(), CERO_CPU_PAGE_LDT) + offset));
    if (load(selector) == 0) return true;
    static_cast<void>(load(0));
    return false;
}

void load_gdt(Vcpu& vcpu) noexcept {
    if (&vcpu == this_cpu().current) show_gdt(vcpu, true);
}
void load_ldt(Vcpu& vcpu) noexcept {
    if (&vcpu == this_cpu().current) show_ldt(vcpu, true);
}

} // namespace cero::arch
