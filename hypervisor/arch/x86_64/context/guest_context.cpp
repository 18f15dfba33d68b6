// SPDX-License-Identifier: BSD-2-Clause
// vCPU contexts as the ABI describes them, and the register state at a vCPU's start.
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/uaccess.hpp>
#include <arch/x86_64/context/debug.hpp>
#include <arch/x86_64/context/fpu.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <core/domain/domain.hpp>

#include <cstring>

namespace cero::arch {
namespace {

constexpr std::uint64_t kept_flags = rflags::cf | rflags::pf | rflags::af | rflags::zf | rflags::sf | rflags::tf |
                                     rflags::df | rflags::of | rflags::nt | rflags::rf | rflags::ac | rflags::id;

void set_registers(GuestRegs& regs, const cero_cpu_user_regs& u) noexcept {
    regs = {u.r15, u.r14, u.r13, u.r12, u.rbp, u.rbx, u.r11, u.r10, u.r9, u.r8,  u.rax,
            u.rcx, u.rdx, u.rsi, u.rdi, 0,     0,     u.rip, 0,     0,    u.rsp, 0};
    regs.cs = u.cs | 3u;
    regs.ss = u.ss | 3u;
    regs.rflags = (u.rflags & kept_flags) | rflags::fixed | rflags::interrupt;
}

void get_registers(const ArchVcpu& vcpu, cero_cpu_user_regs& u) noexcept {
    const GuestRegs& r = vcpu.regs;
    u = {};
    u.r15 = r.r15, u.r14 = r.r14, u.r13 = r.r13, u.r12 = r.r12, u.rbp = r.rbp, u.rbx = r.rbx;
    u.r11 = r.r11, u.r10 = r.r10, u.r9 = r.r9, u.r8 = r.r8, u.rax = r.rax, u.rcx = r.rcx;
    u.rdx = r.rdx, u.rsi = r.rsi, u.rdi = r.rdi, u.rip = r.rip, u.rsp = r.rsp;
    u.rflags = r.rflags;
    u.cs = static_cast<std::uint16_t>(vcpu.user_mode ? r.cs : r.cs & ~3ull);
    u.ss = static_cast<std::uint16_t>(r.ss);
    u.ds = vcpu.ds, u.es = vcpu.es, u.fs = vcpu.fs, u.gs = vcpu.gs;
    u.saved_upcall_mask = vcpu.info->evtchn_upcall_mask;
}

} // namespace

void vcpu_init(Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    cero_vcpu_info* info = arch.info;
    std::memset(static_cast<void*>(&arch), 0, sizeof arch);
    arch.info = info;
    arch.regs.cs = CERO_FLAT_RING3_CS64;
    arch.regs.ss = CERO_FLAT_RING3_SS;
    arch.regs.rflags = rflags::fixed | rflags::interrupt;
    arch.dr6 = dr6_reset;
    arch.dr7 = dr7_reset;
    fpu_reset(arch);
    arch.xcr0 = features.xcr0;
}

bool is_acceptable(const Vcpu& vcpu, const cero_vcpu_guest_context& c) noexcept {
    if ((c.flags & CERO_VGCF_in_kernel) == 0 && c.ctrlreg[1] == 0) return false; // no tables to run on
    const std::uint64_t addresses[] = {
        c.user_regs.rip, c.event_callback_eip, c.failsafe_callback_eip, c.syscall_callback_eip,
        c.fs_base,       c.gs_base_kernel,     c.gs_base_user,
    };
    for (const std::uint64_t address : addresses)
        if (!is_canonical(address)) return false;
    for (const cero_trap_info& trap : c.trap_ctxt)
        if (!is_canonical(trap.address)) return false;
    for (unsigned n = 0; n < 8; ++n)
        if (n != 4 && n != 5 && c.debugreg[n] != 0 && !debug_value_is_valid(vcpu.arch, n, c.debugreg[n])) return false;
    return true;
}

void set_guest_context(Vcpu& vcpu, const cero_vcpu_guest_context& c) noexcept {
    ArchVcpu& arch = vcpu.arch;
    set_registers(arch.regs, c.user_regs);
    arch.ds = c.user_regs.ds;
    arch.es = c.user_regs.es;
    arch.fs = c.user_regs.fs;
    arch.gs = c.user_regs.gs;
    arch.user_mode = (c.flags & CERO_VGCF_in_kernel) == 0;
    arch.fs_base = c.fs_base;
    arch.gs_base = arch.user_mode ? c.gs_base_user : c.gs_base_kernel;
    arch.gs_base_inactive = arch.user_mode ? c.gs_base_kernel : c.gs_base_user;
    arch.kernel_ss = (c.kernel_ss & 0xffff) | 3;
    arch.kernel_sp = c.kernel_sp;
    arch.event = {c.event_callback_eip, true};
    arch.failsafe = {c.failsafe_callback_eip, (c.flags & CERO_VGCF_failsafe_disables_events) != 0};
    arch.syscall = {c.syscall_callback_eip, (c.flags & CERO_VGCF_syscall_disables_events) != 0};
    for (unsigned n = 0; n < 256; ++n)
        arch.traps[n] =
            c.trap_ctxt[n].address << 16 | (c.trap_ctxt[n].flags & (CERO_TRAP_DPL_MASK | CERO_TRAP_MASK_EVENTS));
    for (unsigned n = 0; n < 4; ++n) arch.dr[n] = c.debugreg[n];
    arch.dr6 = dr6_reset | (c.debugreg[6] & 0xe00f);
    arch.dr7 = dr7_reset | (c.debugreg[7] & 0xffff03ff);
    if ((c.flags & CERO_VGCF_i387_valid) != 0)
        fpu_set_legacy(arch, c.fpu_ctxt);
    else
        fpu_reset(arch);
    arch.xcr0 = features.xcr0;
}

void get_guest_context(const Vcpu& vcpu, cero_vcpu_guest_context& c) noexcept {
    const ArchVcpu& arch = vcpu.arch;
    std::memset(&c, 0, sizeof c);
    fpu_get_legacy(arch, c.fpu_ctxt);
    c.flags = CERO_VGCF_i387_valid | (arch.user_mode ? 0u : CERO_VGCF_in_kernel) |
              (arch.failsafe.mask_events ? CERO_VGCF_failsafe_disables_events : 0u) |
              (arch.syscall.mask_events ? CERO_VGCF_syscall_disables_events : 0u) |
              (vcpu.is_down() ? 0u : CERO_VGCF_online);
    get_registers(arch, c.user_regs);
    for (unsigned n = 0; n < 256; ++n) {
        c.trap_ctxt[n].vector = static_cast<std::uint8_t>(n);
        c.trap_ctxt[n].flags = static_cast<std::uint8_t>(arch.traps[n]);
        c.trap_ctxt[n].cs = arch.traps[n] == 0 ? std::uint16_t{0} : std::uint16_t{CERO_FLAT_RING3_CS64};
        c.trap_ctxt[n].address = static_cast<std::uint64_t>(static_cast<std::int64_t>(arch.traps[n]) >> 16);
    }
    c.ldt_base = arch.ldt_base;
    c.ldt_ents = arch.ldt_entries;
    for (unsigned n = 0; n < (arch.gdt_entries + 511) / 512; ++n) c.gdt_frames[n] = arch.gdt_frames[n].raw();
    c.gdt_ents = arch.gdt_entries;
    c.kernel_ss = arch.kernel_ss;
    c.kernel_sp = arch.kernel_sp;
    for (unsigned n = 0; n < 4; ++n) c.debugreg[n] = arch.dr[n];
    c.debugreg[6] = arch.dr6;
    c.debugreg[7] = arch.dr7;
    c.event_callback_eip = arch.event.address;
    c.failsafe_callback_eip = arch.failsafe.address;
    c.syscall_callback_eip = arch.syscall.address;
    c.vm_assist = vcpu.domain->vm_assist;
    c.fs_base = arch.fs_base;
    c.gs_base_kernel = arch.user_mode ? arch.gs_base_inactive : arch.gs_base;
    c.gs_base_user = arch.user_mode ? arch.gs_base : arch.gs_base_inactive;
}

void set_start_of_day(Vcpu& vcpu, GuestVirt entry, GuestVirt stack, GuestVirt start_info) noexcept {
    ArchVcpu& arch = vcpu.arch; // as vcpu_init() left it, but for the roots
    arch.regs.rip = entry.raw();
    arch.regs.rsp = stack.raw();
    arch.regs.rsi = start_info.raw();
    arch.kernel_ss = CERO_FLAT_RING3_SS;
    arch.kernel_sp = stack.raw();
}

void restart_hypercall(Vcpu& vcpu, std::uint64_t number, const std::uint64_t (&args)[5]) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    regs.rip -= 2; // the SYSCALL instruction
    regs.rax = number;
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = args[4];
}

void dump_vcpu(const Vcpu& vcpu) noexcept {
    const GuestRegs& r = vcpu.arch.regs;
    const ArchVcpu& a = vcpu.arch;
    const auto line = [](const char* format, auto... values) { log(Level::warning, format, values...); };
    line("d%uv%u %s mode, rip %04lx:%016lx rflags %lx", vcpu.domain->id.raw(), vcpu.id.raw(),
         a.user_mode ? "user" : "kernel", r.cs, r.rip, r.rflags);
    line("rax %016lx rbx %016lx rcx %016lx", r.rax, r.rbx, r.rcx);
    line("rdx %016lx rsi %016lx rdi %016lx", r.rdx, r.rsi, r.rdi);
    line("rbp %016lx rsp %016lx r8  %016lx", r.rbp, r.rsp, r.r8);
    line("r9  %016lx r10 %016lx r11 %016lx", r.r9, r.r10, r.r11);
    line("r12 %016lx r13 %016lx r14 %016lx", r.r12, r.r13, r.r14);
    line("r15 %016lx cr2 %016lx kernel cr3 %lx user cr3 %lx", r.r15, a.info->arch.cr2, a.kernel_cr3, a.user_cr3);
    std::uint64_t stack[8] = {};
    if (&vcpu != &current_vcpu() || !copy_from_guest(stack, GuestVirt{r.rsp & ~7ull}, sizeof stack)) return;
    for (unsigned n = 0; n < 8; n += 4)
        line("stack %016lx %016lx %016lx %016lx", stack[n], stack[n + 1], stack[n + 2], stack[n + 3]);
}

} // namespace cero::arch
