// SPDX-License-Identifier: BSD-2-Clause
// What:   exceptions of guest kernel and guest user mode, as the guest kernel sees them.
// Why:    a port of a kernel depends on each part of the frame: vector, error code, rip, CS, cr2,
// mask, flags. How:    executes each faulting instruction, in both modes, and reads the frame.
// Expect: frames as documented in docs/abi/traps.md.
#include "runtime.hpp"

using namespace guest;

namespace {

bool soft_interrupts_work;
Page read_only;
Page scratch;
extern "C" const char fault_here[], step_here[];

void user_store(Word where) {
    *reinterpret_cast<volatile int*>(where) = 1;
}
void user_load(Word where) {
    (void)*reinterpret_cast<volatile int*>(where);
}
void user_int3(Word) {
    asm volatile("int3");
}
void user_cli(Word) {
    asm volatile("cli");
}
void user_hlt(Word) {
    asm volatile("hlt");
}
void user_divide(Word zero) {
    Word dividend = 1, remainder = 0;
    asm volatile("divq %2" : "+a"(dividend), "+d"(remainder) : "r"(zero));
}
void user_jump(Word where) {
    reinterpret_cast<void (*)()>(where)();
}
void user_flags(Word) {
    Word flags;
    asm volatile("pushfq; pop %0" : "=r"(flags));
    user_syscall(1, flags);
}

void faults_in_kernel_mode() {
    Trap trap = guarded([] {
        Word dividend = 1, remainder = 0;
        asm volatile("divq %2" : "+a"(dividend), "+d"(remainder) : "r"(Word{0}));
    });
    check_trap("divide by zero", trap, divide_error);

    trap = guarded([] { asm volatile(".global fault_here\nfault_here: ud2"); });
    check_trap("ud2", trap, invalid_opcode);
    check_equal("rip of a fault is that of the instruction", static_cast<long>(trap.rip),
                static_cast<long>(address(fault_here)));
    check_equal("CS of the guest kernel", static_cast<long>(trap.regs.cs & 0xffff),
                CERO_FRAME_KERNEL_CS);
    check_equal("SS of the guest kernel, but for its RPL", static_cast<long>(trap.regs.ss & 0xfffc),
                CERO_FLAT_RING3_SS & 0xfffc);
    check_equal("saved mask", trap.regs.saved_upcall_mask(), 1);
    check_equal("IF shows the mask", static_cast<long>(trap.regs.rflags & 0x200), 0);
    check_equal("IOPL", static_cast<long>(trap.regs.rflags & 0x3000), 0);

    enable_events();
    trap = guarded([] { asm volatile("ud2"); });
    check_equal("saved mask with events on", trap.regs.saved_upcall_mask(), 0);
    check_equal("IF with events on", static_cast<long>(trap.regs.rflags & 0x200), 0x200);
    check_equal("an exception leaves the mask alone", vcpu_info().evtchn_upcall_mask, 0);
    disable_events();

    trap = guarded([] { asm volatile("int3"); });
    check_trap("int3", trap, breakpoint);

    check_trap("load from an unmapped address",
               guarded([] { (void)*reinterpret_cast<volatile int*>(unmapped_address); }),
               page_fault, 0);
    check_trap("load from a non-canonical address",
               guarded([] { (void)*reinterpret_cast<volatile int*>(noncanonical_address); }),
               general_protection, 0);
    check_trap("store to a read-only page", guarded([] { read_only.words[1] = 1; }), page_fault, 3);
    check_trap("jump to an unmapped address",
               guarded([] { reinterpret_cast<void (*)()>(unmapped_address)(); }), page_fault);

    update_va_mapping(address(&scratch), mfn_of(&scratch) * page_size | pte_rw | pte_nx,
                      CERO_UVMF_INVLPG);
    trap = guarded([] { reinterpret_cast<void (*)()>(address(&scratch))(); });
    check_trap("jump to a page without execute permission", trap, page_fault, 0x11);
    make_writable(&scratch);

    check_trap("hlt", guarded([] { asm volatile("hlt"); }), general_protection, 0);
    check_trap("bad selector in ds", guarded([] {
                   asm volatile("mov %0, %%ds" : : "r"(static_cast<std::uint16_t>(0x1234 | 3)));
               }),
               general_protection, 0x1234 & ~3);
    check_trap("int 0x80", guarded([] { asm volatile("int $0x80"); }), 128);
    const Trap no_handler = guarded([] { asm volatile("int $0x21"); });
    check_trap("int 0x21 without a handler", no_handler, general_protection);
    soft_interrupts_work = no_handler.error_code == (0x21 << 3 | 2);
    if (soft_interrupts_work)
        check_trap("int 0x81, level 1, from the kernel", guarded([] { asm volatile("int $0x81"); }),
                   129);
    else // QEMU 7.2 computes the error code with 16 in place of 8: no hypervisor can tell the
         // vector.
        check_equal("QEMU's error code", static_cast<long>(no_handler.error_code), 0x21 << 4 | 2);
}

void access_to_the_hypervisor() {
    // The hypervisor's addresses: never readable or writable, but for the machine-to-physical
    // table.
    Trap trap = guarded([] { (void)*reinterpret_cast<volatile int*>(hypervisor_address); });
    check_trap("load from the hypervisor", trap, page_fault);
    trap = guarded([] { *reinterpret_cast<volatile Word*>(CERO_M2P_VIRT_START) = 1; });
    check_trap("store to the machine-to-physical table", trap, page_fault);
    check_true(
        "load from the machine-to-physical table",
        !guarded([] { (void)*reinterpret_cast<volatile Word*>(CERO_M2P_VIRT_START); }).happened());
}

void faults_in_user_mode() {
    Trap trap = run_user(user_store, unmapped_address);
    check_trap("user store to an unmapped address", trap, page_fault, 6);
    check_equal("cr2", static_cast<long>(trap.cr2), static_cast<long>(unmapped_address));
    check_equal("CS of user mode", static_cast<long>(trap.regs.cs & 0xffff), CERO_FLAT_RING3_CS64);
    check_trap("user load from an unmapped address", run_user(user_load, unmapped_address),
               page_fault, 4);
    check_trap("user store to a read-only page", run_user(user_store, address(&read_only)),
               page_fault, 7);
    check_trap("user load from the hypervisor", run_user(user_load, hypervisor_address),
               page_fault);
    check_trap("user int3", run_user(user_int3, 0), breakpoint);
    check_trap("user cli", run_user(user_cli, 0), general_protection, 0);
    check_trap("user hlt", run_user(user_hlt, 0), general_protection, 0);
    check_trap("user division by zero", run_user(user_divide, 0), divide_error);
    check_trap("user jump to a non-canonical address", run_user(user_jump, noncanonical_address),
               general_protection, 0);
    check_trap("user int 0x80", run_user([](Word) { asm volatile("int $0x80"); }, 0), 128);
    check_trap("user int 0x81, level 1", run_user([](Word) { asm volatile("int $0x81"); }, 0),
               general_protection, soft_interrupts_work ? 0x81 << 3 | 2 : 0x81 << 4 | 2);
    trap = run_user(user_flags, 0);
    check_trap("user system call", trap, syscall_entry);
    check_equal("user mode runs with real IF, without IOPL",
                static_cast<long>(trap.regs.rdi & 0x3200), 0x200);
}

bool stepped(Regs& regs) {
    static unsigned steps;
    if (regs.vector != debug)
        return false;
    if (++steps == 1)
        regs.rflags &= ~Word{0x100};
    else
        check_true("one debug exception for one step", false);
    return true;
}

void single_step() {
    trap_hook = stepped;
    asm volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" : : : "memory", "cc");
    trap_hook = nullptr;
    Word flags;
    asm volatile("pushfq; pop %0" : "=r"(flags));
    check_equal("TF after the handler cleared it", static_cast<long>(flags & 0x100), 0);
}

// Steps over one instruction, or runs into a breakpoint at it, on the stack given.
asm(R"(
        .text
watched_step:
        push %rbx
        push %r12
        mov %rsp, %rbx
        mov %rdi, %rsp
        mov $0x12345678, %r12d
        push %rsi
        popfq
        .global watched_here
watched_here:
        nop
        mov %rbx, %rsp
        pop %r12
        pop %rbx
        ret
)");
extern "C" void watched_step(Word stack, Word rflags);
extern "C" const char watched_here[];

unsigned watched_hits, watched_steps;

bool watched(Regs& regs) {
    if (regs.vector != debug)
        return false;
    set_debugreg(7, 0x400);
    regs.rflags &= ~Word{0x100};
    ++(regs.rip - address(watched_here) <= 1 ? watched_steps : watched_hits);
    return true;
}

// The hypervisor's store of a debug exception's frame raises the next: that one is not the guest's.
void watchpoint_on_the_frame() {
    Page* const stack = take_page();
    const Word top = address(stack + 1);
    constexpr Word watch_write_8 = 1 | 1 << 16 | 2 << 18, break_at_1 = 1 << 2;
    trap_hook = watched;
    for (const bool step : {true, false}) {
        watched_hits = watched_steps = 0;
        check_equal("watchpoint", set_debugreg(0, top - 56), 0);
        check_equal("breakpoint", set_debugreg(1, address(watched_here)), 0);
        check_equal("both on", set_debugreg(7, 0x400 | watch_write_8 | (step ? 0 : break_at_1)), 0);
        watched_step(top, step ? 0x302 : 0x202);
        check_equal(step ? "single step" : "breakpoint hit", watched_steps, 1);
        // By the handler here, which pushes to the same place.
        check_equal("watchpoint hit", watched_hits, 1);
    }
    trap_hook = nullptr;
}

} // namespace

void guest::test_main() {
    make_readonly(&read_only);
    faults_in_kernel_mode();
    access_to_the_hypervisor();
    faults_in_user_mode();
    single_step();
    watchpoint_on_the_frame();
}
