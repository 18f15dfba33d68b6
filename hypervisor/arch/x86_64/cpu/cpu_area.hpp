// SPDX-License-Identifier: BSD-2-Clause
// CpuArea: the first page of a CPU's part of level-4 slot 259, and how a CPU is set up on it.
//
//   page 0     CpuArea (PerCpu first: GS points here)
//   2..5       stack, 7 NMI, 9 machine check, 11 double fault and debug: guards between
//   16..30     GDT window: 14 guest pages, then the hypervisor's page (entry 7168 on)
//   32..47     LDT window
#pragma once

#include <arch/api/cpu.hpp>
#include <arch/x86_64/layout.h>

namespace cero::arch {

struct [[gnu::packed]] Tss {
    std::uint32_t reserved0;
    std::uint64_t rsp0, rsp1, rsp2;
    std::uint64_t reserved1;
    std::uint64_t ist[7];
    std::uint64_t reserved2;
    std::uint16_t reserved3;
    std::uint16_t io_map; ///< beyond the limit: no port is open to ring 3
};
static_assert(sizeof(Tss) == 104);

struct CpuArea {
    PerCpu cpu;
    alignas(16) Tss tss;
    bool halted_by_panic;
    std::uint64_t loaded_gdt[14]; ///< entries of the GDT window as they are now
    std::uint16_t loaded_ldt_pages;
};

constexpr std::uint64_t cpu_area_address(std::uint32_t cpu) noexcept {
    return CERO_PERCPU_VIRT + (static_cast<std::uint64_t>(cpu) << CERO_CPU_AREA_SHIFT);
}
inline CpuArea& this_area() noexcept { return reinterpret_cast<CpuArea&>(this_cpu()); }
inline CpuArea& area_of(std::uint32_t cpu) noexcept { return *reinterpret_cast<CpuArea*>(cpu_area_address(cpu)); }
/// Address of a page of this CPU's area.
inline std::uint64_t area_page(const CpuArea& area, unsigned page) noexcept {
    return reinterpret_cast<std::uint64_t>(&area) + page * 4096ull;
}

/// Allocates and maps the area of a CPU. Boot only.
void make_cpu_area(std::uint32_t cpu, std::uint32_t apic_id) noexcept;
/// Loads GS, GDT, TSS, IDT, system-call MSRs and control registers of the executing CPU.
void load_cpu_state(CpuArea& area) noexcept;
/// Fills the IDT. Boot CPU, once.
void build_idt() noexcept;
/// Writes stac and clac to their sites when the CPU has SMAP. Before the text is mapped read-only.
void apply_patch_sites() noexcept;

} // namespace cero::arch
