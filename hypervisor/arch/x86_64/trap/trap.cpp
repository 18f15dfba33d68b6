// SPDX-License-Identifier: BSD-2-Clause
// What entry.S calls: exceptions and system calls of guests, the iret hypercall, the way out.
#include <arch/api/console.hpp>
#include <arch/api/hooks.hpp>
#include <arch/x86_64/context/windows.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/guest/emulator.hpp>
#include <arch/x86_64/smp/smp.hpp>
#include <arch/x86_64/trap/bounce.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {

extern "C" void deliver_event(Vcpu& vcpu) noexcept;

namespace {

enum Vector : unsigned { v_ud = 6, v_nm = 7, v_gp = 13, v_pf = 14, v_int80 = 0x80 };
/// Exceptions that push an error code [SDM3 "Exception and Interrupt Reference"].
constexpr std::uint32_t vectors_with_code =
    1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21;

namespace fault {
constexpr std::uint32_t present = 1, write = 2, user = 4, reserved = 8;
}

/// True: the guest's registers are as the ABI wants them, or its domain has crashed.
bool enter_handler(Vcpu& vcpu, unsigned vector, bool has_code, std::uint64_t code) noexcept {
    const std::uint64_t trap = vcpu.arch.traps[vector];
    const auto handler = static_cast<std::uint64_t>(static_cast<std::int64_t>(trap) >> 16);
    const bool mask = (trap & CERO_TRAP_MASK_EVENTS) != 0;
    if (handler != 0) [[likely]]
        return has_code ? bounce_with_code(vcpu, handler, mask, code) : bounce(vcpu, handler, mask);
    vcpu.domain->crash("vcpu %u: exception %u (code %#lx, address %#lx) at %#lx, no handler", vcpu.id.raw(), vector,
                       code, vcpu.arch.info->arch.cr2, vcpu.arch.regs.rip);
    return true;
}

void crash_in_iret(Vcpu& vcpu, const char* why) noexcept {
    close_guest_access();
    vcpu.domain->crash("iret to %#lx, stack %#lx: %s", vcpu.arch.regs.rip, vcpu.arch.regs.rsp, why);
}

/// By itself: what other exceptions pay for is short without its calls.
[[gnu::noinline]] bool undefined_instruction(Vcpu& vcpu) noexcept {
    return !is_forced_cpuid(vcpu) && enter_handler(vcpu, v_ud, false, 0);
}

/// A system call of guest user mode; without a callback the instruction is not known.
void enter_system_call(Vcpu& vcpu, const Callback& callback) noexcept {
    if (callback.address == 0) [[unlikely]] {
        vcpu.arch.regs.rip -= 2;
        enter_handler(vcpu, v_ud, false, 0);
        return;
    }
    bounce(vcpu, callback.address, callback.mask_events);
    vcpu.arch.regs.rflags &= ~rflags::df;
}

/// Takes a bit of exit_work, if it is set and its time has come.
bool take_exit_work(ArchVcpu& vcpu, ExitWork work, bool now) noexcept {
    if ((vcpu.exit_work & work) == 0 || !now) return false;
    __atomic_fetch_and(&vcpu.exit_work, ~static_cast<std::uint32_t>(work), __ATOMIC_RELAXED);
    return true;
}

/// One step towards the guest; false when nothing is left to do.
bool work_once(PerCpu& cpu) noexcept {
    if (const std::uint32_t bits = cpu.softirqs.load(Order::relaxed); bits != 0) {
        cpu.softirqs.fetch_and(~bits, Order::acq_rel);
        if (const std::uint32_t rest = bits & ~bit(Softirq::schedule); rest != 0) core::run_softirqs(rest);
        if ((bits & bit(Softirq::schedule)) != 0) core::schedule();
        return true;
    }
    Vcpu& vcpu = *cpu.current;
    if (vcpu.is_idle) {
        if (core::idle_work())
            take_interrupts(); // there may be much of it: whoever waits for one comes first
        else
            halt_until_interrupt();
        return true;
    }
    ArchVcpu& arch = vcpu.arch;
    if (take_exit_work(arch, exit_time_areas, !arch.user_mode)) {
        core::write_time_areas(vcpu);
        return true;
    }
    if (take_exit_work(arch, exit_nmi, !arch.nmi_masked)) {
        if (arch.nmi.address != 0) {
            arch.nmi_masked = true;
            bounce(vcpu, arch.nmi.address, true);
        }
        return true;
    }
    if (event_deliverable(arch)) {
        deliver_event(vcpu);
        return true;
    }
    return false;
}

} // namespace

void inject_exception(Vcpu& vcpu, unsigned vector) noexcept { enter_handler(vcpu, vector, false, 0); }
void inject_exception(Vcpu& vcpu, unsigned vector, std::uint32_t error_code) noexcept {
    enter_handler(vcpu, vector, true, error_code);
}
void inject_page_fault(Vcpu& vcpu, GuestVirt address, std::uint32_t error_code) noexcept {
    vcpu.arch.info->arch.cr2 = address.raw();
    enter_handler(vcpu, v_pf, true, error_code);
}
void queue_nmi(Vcpu& vcpu) noexcept {
    __atomic_fetch_or(&vcpu.arch.exit_work, static_cast<std::uint32_t>(exit_nmi), __ATOMIC_RELEASE);
}

bool preemption_point() noexcept {
    __asm__ volatile("sti; nop; cli" : : : "memory");
    service_remote_requests();
    const PerCpu& cpu = this_cpu();
    return cpu.softirqs.load(Order::relaxed) != 0 || (!cpu.current->is_idle && event_deliverable(cpu.current->arch));
}

extern "C" {
/// Precondition: event_deliverable().
void deliver_event(Vcpu& vcpu) noexcept {
    if (vcpu.arch.event.address == 0) [[unlikely]]
        return vcpu.domain->crash("vcpu %u: an event, and no callback for it", vcpu.id.raw());
    bounce(vcpu, vcpu.arch.event.address, true);
}

/// All that has to happen before the current vCPU (whichever it is by then) executes: D.5's order.
void exit_work() noexcept {
    PerCpu& cpu = this_cpu();
    while (work_once(cpu)) {
    }
}

/// True: delivered. False: perhaps a store to a page table or a hole in the LDT window; needs all
/// registers.
bool page_fault_from_guest(Vcpu& vcpu) noexcept {
    const std::uint64_t address = read_cr2();
    ArchVcpu& arch = vcpu.arch;
    std::uint32_t code = arch.regs.error_code;
    if ((code & fault::reserved) != 0) [[unlikely]] {
        vcpu.domain->crash("reserved bit in a page table: fault at %#lx", address);
        return true;
    }
    arch.info->arch.cr2 = address;
    if (!arch.user_mode) {
        constexpr std::uint32_t protected_store = fault::present | fault::write;
        if ((code & protected_store) == protected_store) return false;
        code &= ~fault::user;
    }
    if (in_hypervisor_hole(address)) [[unlikely]] {
        if (in_ldt_window(address)) return false;
        code &= ~fault::present; // tells nothing about our mappings
    }
    return enter_handler(vcpu, v_pf, true, code);
}

void page_fault_emulation(Vcpu& vcpu) noexcept {
    const std::uint64_t address = vcpu.arch.info->arch.cr2;
    std::uint32_t code = vcpu.arch.regs.error_code;
    if (in_ldt_window(address)) {
        if (map_ldt_page(vcpu, address)) return;
        const std::uint64_t offset = address & (ldt_pages * page_size - 1);
        inject_page_fault(vcpu, GuestVirt{vcpu.arch.ldt_base + offset}, 0);
        return;
    }
    if (!in_hypervisor_hole(address) && emulate_pte_store(vcpu, GuestVirt{address})) return;
    if (in_hypervisor_hole(address)) code &= ~fault::present;
    inject_page_fault(vcpu, GuestVirt{address}, code & ~fault::user);
}

/// True: delivered. False: perhaps an instruction to emulate; needs all registers.
bool exception_from_guest(Vcpu& vcpu) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    const unsigned vector = regs.entry_vector;
    if (vector == v_gp || vector == v_nm || vector == v_int80) return false;
    if (vector == v_ud) return undefined_instruction(vcpu);
    return enter_handler(vcpu, vector, (vectors_with_code >> vector & 1) != 0, regs.error_code);
}

void exception_emulation(Vcpu& vcpu) noexcept {
    const unsigned vector = vcpu.arch.regs.entry_vector;
    switch (vector) {
    case v_gp: return handle_general_protection(vcpu);
    case v_int80: // its own gate spares the #GP that every other INT n takes
        vcpu.arch.regs.rip -= 2;
        vcpu.arch.regs.error_code = v_int80 << 3 | 2;
        return handle_general_protection(vcpu);
    case v_nm:
        if (!handle_device_not_available(vcpu)) enter_handler(vcpu, v_nm, false, 0);
        return;
    default: return emulate_forced_cpuid(vcpu); // v_ud
    }
}

/// #DB in the guest, on the stack that the next one starts over; the handler is entered from this CPU's own.
void take_debug_frame(Vcpu& vcpu, const GuestRegs& frame) noexcept {
    vcpu.arch.regs = frame;
    vcpu.arch.dr6 = take_debug_status();
}

/// SYSCALL in user mode: rcx and r11 of the frame are the user's rip and rflags [D.4].
void deliver_system_call(Vcpu& vcpu) noexcept { enter_system_call(vcpu, vcpu.arch.syscall); }
void deliver_system_call_32(Vcpu& vcpu) noexcept {
    enter_system_call(vcpu, vcpu.arch.user_mode ? vcpu.arch.syscall32 : Callback{});
}

/// Where it was executed the CPU does not tell: without a callback it is #GP at address 0.
void deliver_sysenter(Vcpu& vcpu) noexcept {
    vcpu.arch.regs.rflags |= rflags::interrupt;
    if (vcpu.arch.user_mode && vcpu.arch.sysenter.address != 0)
        enter_system_call(vcpu, vcpu.arch.sysenter);
    else
        enter_handler(vcpu, v_gp, true, 0);
}

/// Hypercall iret [D.6]. The frame is loaded word by word into where it belongs: each is read once. It is all read
/// before the user's tables are loaded, which do not map the kernel's stack.
void return_from_trap(Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    GuestRegs& regs = arch.regs;
    const std::uint64_t at = regs.rsp;
    if (in_hypervisor_hole(at + sizeof(cero_iret_frame))) [[unlikely]]
        return crash_in_iret(vcpu, "it is the hypervisor's");
    std::uint64_t flags, cs, eflags, ss;
    open_guest_access();
    const bool good = load_guest_word(regs.rax, at) && load_guest_word(flags, at + 24) &&
                      ((flags & CERO_VGCF_in_syscall) != 0 ||
                       (load_guest_word(regs.r11, at + 8) && load_guest_word(regs.rcx, at + 16))) &&
                      load_guest_word(regs.rip, at + 32) && load_guest_word(cs, at + 40) &&
                      load_guest_word(eflags, at + 48) && load_guest_word(regs.rsp, at + 56) &&
                      load_guest_word(ss, at + 64);
    if (!good) [[unlikely]]
        return crash_in_iret(vcpu, "it cannot be read");
    close_guest_access();
    regs.cs = (cs & 0xffff) | 3;
    regs.rflags = (eflags & ~(rflags::iopl | rflags::vm)) | rflags::interrupt | rflags::fixed;
    regs.ss = (ss & 0xffff) | 3;
    arch.nmi_masked = false;
    arch.info->evtchn_upcall_mask = (eflags & rflags::interrupt) == 0;
    if ((cs & 3) != 3) return;
    if (arch.user_cr3 == 0) [[unlikely]]
        return crash_in_iret(vcpu, "to user mode, without user page tables");
    enter_user_mode(arch);
}

/// IRETQ refused what the guest asked for: failsafe callback, or #GP without one [D.4, D.6].
void deliver_iret_fault(Vcpu& vcpu) noexcept {
    // A code or stack segment of the LDT, whose page is mapped on demand: once more.
    if (vcpu.arch.regs.entry_vector == v_pf && in_ldt_window(read_cr2()) && map_ldt_page(vcpu, read_cr2())) return;
    if (vcpu.arch.failsafe.address != 0) return bounce_failsafe(vcpu, read_selectors());
    // The refused context is not one to return to: it is described from kernel mode, with flat
    // selectors.
    GuestRegs& regs = vcpu.arch.regs;
    const std::uint32_t code = regs.error_code;
    regs.cs = CERO_FLAT_RING3_CS64;
    regs.ss = CERO_FLAT_RING3_SS;
    enter_handler(vcpu, v_gp, true, code);
}
} // extern "C"

} // namespace cero::arch
