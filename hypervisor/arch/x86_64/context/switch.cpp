// SPDX-License-Identifier: BSD-2-Clause
// Switching the CPU from one vCPU to another: everything that entry and exit do not carry.
#include <arch/api/hooks.hpp>
#include <arch/x86_64/context/control_bits.hpp>
#include <arch/x86_64/context/debug.hpp>
#include <arch/x86_64/context/fpu.hpp>
#include <arch/x86_64/context/selectors.hpp>
#include <arch/x86_64/context/windows.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <arch/x86_64/trap/bounce.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

void save(ArchVcpu& vcpu) noexcept {
    const Selectors s = read_selectors();
    vcpu.ds = s.ds;
    vcpu.es = s.es;
    vcpu.fs = s.fs;
    vcpu.gs = s.gs;
    vcpu.fs_base = read_msr(Msr::fs_base);
    vcpu.gs_base = read_msr(Msr::kernel_gs_base);
    fpu_save(vcpu);
    if (debug_is_active(vcpu)) debug_switch_off();
}

void load_segments(Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    bool good = load_selector(vcpu, load_ds, arch.ds);
    good = load_selector(vcpu, load_es, arch.es) && good;
    good = load_selector(vcpu, load_fs, arch.fs) && good;
    good = load_selector(vcpu, load_gs, arch.gs) && good;
    // A selector load sets the base; the 64-bit bases come after.
    write_msr(Msr::fs_base, arch.fs_base);
    write_msr(Msr::kernel_gs_base, arch.gs_base);
    if (!good && arch.failsafe.address != 0) bounce_failsafe(vcpu, {arch.ds, arch.es, arch.fs, arch.gs});
}

void load(PerCpu& cpu, Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    cpu.current = &vcpu;
    cpu.regs_end = reinterpret_cast<std::uint64_t>(&arch.regs + 1);
    this_area().tss.rsp0 = cpu.regs_end;
    // From here on a flush of the domain's translations includes this CPU.
    vcpu.domain->dirty_cpus.fetch_or(CpuMask::of(CpuId{cpu.id}).raw(), Order::seq_cst);
    show_gdt(vcpu, false);
    write_cr3(arch.user_mode ? arch.user_cr3 : arch.kernel_cr3);
    show_ldt(vcpu, true);
    fpu_restore(arch);
    if (debug_is_active(arch)) debug_load(arch);
    load_control_bits(arch);
    load_segments(vcpu);
}

void load_idle(PerCpu& cpu, Vcpu& idle) noexcept {
    cpu.current = &idle;
    cpu.regs_end = cpu.stack_top;
    this_area().tss.rsp0 = cpu.stack_top;
    // No descriptor page of a guest stays mapped, no CR3 of a domain that may die stays loaded.
    show_gdt(idle, true);
    show_ldt(idle, true);
    drop_selectors();
    write_cr3(hypervisor_root());
}

} // namespace

void context_switch(Vcpu& from, Vcpu& to) noexcept {
    if (&from == &to) return;
    PerCpu& cpu = this_cpu();
    if (!from.is_idle) save(from.arch);
    if (to.is_idle)
        load_idle(cpu, to);
    else
        load(cpu, to);
    if (!from.is_idle && (to.is_idle || to.domain != from.domain))
        from.domain->dirty_cpus.fetch_and(~CpuMask::of(CpuId{cpu.id}).raw(), Order::seq_cst);
}

void load_page_tables(Vcpu& vcpu) noexcept {
    if (&vcpu == this_cpu().current) write_cr3(vcpu.arch.user_mode ? vcpu.arch.user_cr3 : vcpu.arch.kernel_cr3);
}

} // namespace cero::arch
