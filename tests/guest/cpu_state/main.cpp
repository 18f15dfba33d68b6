// SPDX-License-Identifier: BSD-2-Clause
// What:   set_segment_base, the base instructions, stack_switch, fpu_taskswitch, set_debugreg and
// get_debugreg. Why:    state that a kernel switches with every process. How:    sets, reads back,
// uses; passes values that must be refused. Expect: as documented in docs/abi/cpu.md.
#include "runtime.hpp"

using namespace guest;

namespace {

Word fs_word(Word offset) {
    Word value;
    asm volatile("mov %%fs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}
Word gs_word(Word offset) {
    Word value;
    asm volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}
Word words[4] = {0x10, 0x11, 0x12, 0x13};
extern "C" char rt_trap_stack_top[];

void user_reads_gs(Word offset) {
    user_syscall(1, gs_word(offset));
}
void user_reads_fs(Word offset) {
    user_syscall(1, fs_word(offset));
}

void segment_bases() {
    check_equal("FS", set_segment_base(CERO_SEGBASE_FS, address(&words[1])), 0);
    check_equal("read through FS", static_cast<long>(fs_word(0)), 0x11);
    check_equal("GS of the kernel", set_segment_base(CERO_SEGBASE_GS_KERNEL, address(&words[2])),
                0);
    check_equal("read through GS", static_cast<long>(gs_word(0)), 0x12);
    check_equal("GS of the user", set_segment_base(CERO_SEGBASE_GS_USER, address(&words[3])), 0);
    check_equal("the kernel's GS is as before", static_cast<long>(gs_word(0)), 0x12);
    Trap trap = run_user(user_reads_gs, 0);
    check_equal("user mode has its own GS", static_cast<long>(trap.regs.rdi), 0x13);
    check_equal("and the kernel its own, after it", static_cast<long>(gs_word(0)), 0x12);
    trap = run_user(user_reads_fs, 0);
    check_equal("FS is common", static_cast<long>(trap.regs.rdi), 0x11);
    check_equal("GS selector of the user: none", set_segment_base(CERO_SEGBASE_GS_USER_SEL, 0), 0);
    check_equal("GS selector of the user: flat",
                set_segment_base(CERO_SEGBASE_GS_USER_SEL, CERO_FLAT_RING3_DS), 0);
    check_equal("GS selector of the user: bad", set_segment_base(CERO_SEGBASE_GS_USER_SEL, 0x1234),
                0);
    check_equal("the kernel's GS is as before", static_cast<long>(gs_word(0)), 0x12);
    for (const Word which :
         {Word{CERO_SEGBASE_FS}, Word{CERO_SEGBASE_GS_USER}, Word{CERO_SEGBASE_GS_KERNEL}})
        check_equal("non-canonical base", set_segment_base(which, noncanonical_address),
                    -CERO_EINVAL);
    check_equal("unknown base", set_segment_base(9, 0), -CERO_EINVAL);
    set_segment_base(CERO_SEGBASE_FS, 0);
    set_segment_base(CERO_SEGBASE_GS_KERNEL, 0);
}

constexpr Word cr4_fsgsbase = 1 << 16;

void write_cr4(Word value) {
    asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}
Word read_cr4() {
    Word value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
Word read_fs_base() {
    Word value;
    asm volatile("rdfsbase %0" : "=r"(value));
    return value;
}
Word read_gs_base() {
    Word value;
    asm volatile("rdgsbase %0" : "=r"(value));
    return value;
}
void user_moves_bases(Word base) {
    asm volatile("wrfsbase %0; wrgsbase %0" : : "r"(base));
    user_syscall(1, gs_word(0));
}
void user_reads_gs_base(Word) {
    user_syscall(1, read_gs_base());
}

/// The instructions work where the kernel has asked for them in CR4, and the modes' GS bases stay
/// apart.
void base_instructions() {
    std::uint32_t a = 7, b, c = 0, d;
    asm volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    check_trap("not switched on", guarded([] { read_gs_base(); }), invalid_opcode);
    write_cr4(read_cr4() | cr4_fsgsbase);
    check_equal("CR4 shows it where CPUID does", (read_cr4() & cr4_fsgsbase) != 0, b & 1);
    if ((b & 1) == 0)
        return;
    segment_bases();
    set_segment_base(CERO_SEGBASE_GS_KERNEL, address(&words[2]));
    check_equal("the kernel reads its base", static_cast<long>(read_gs_base()),
                static_cast<long>(address(&words[2])));
    const Trap trap = run_user(user_moves_bases, address(&words[3]));
    check_equal("user mode moves its bases", static_cast<long>(trap.regs.rdi), 0x13);
    check_equal("FS is common", static_cast<long>(read_fs_base()),
                static_cast<long>(address(&words[3])));
    check_equal("the kernel's GS stays", static_cast<long>(gs_word(0)), 0x12);
    const Trap again = run_user(user_reads_gs_base, 0);
    check_equal("and the user's", static_cast<long>(again.regs.rdi),
                static_cast<long>(address(&words[3])));
    // A non-canonical base is #GP on a CPU; QEMU 7.2 takes it.
    write_cr4(read_cr4() & ~cr4_fsgsbase);
    check_trap("switched off", guarded([] { read_gs_base(); }), invalid_opcode);
    check_equal("the kernel's GS stays", static_cast<long>(gs_word(0)), 0x12);
    set_segment_base(CERO_SEGBASE_FS, 0);
    set_segment_base(CERO_SEGBASE_GS_KERNEL, 0);
}

Word stack_in_trap;
bool note_stack(Regs& regs) {
    if (regs.vector == syscall_entry)
        stack_in_trap = address(&regs);
    return false;
}

void kernel_stack() {
    trap_hook = note_stack;
    run_user([](Word) { user_syscall(1); }, 0);
    trap_hook = nullptr;
    const Word top = address(rt_trap_stack_top);
    check_true("a system call enters on the stack that stack_switch named",
               stack_in_trap < top && stack_in_trap > top - 512);
    check_equal("stack_switch with level 0 in its selector",
                stack_switch(CERO_FLAT_RING3_SS & ~3, top), 0);
}

void debug_registers() {
    for (Word i = 0; i < 4; ++i) {
        check_equal("set", set_debugreg(i, 0x1000 * (i + 1)), 0);
        check_equal("get", get_debugreg(i), static_cast<long>(0x1000 * (i + 1)));
        check_equal("hypervisor's address", set_debugreg(i, hypervisor_address), -CERO_EPERM);
        check_equal("get after the refusal", get_debugreg(i), static_cast<long>(0x1000 * (i + 1)));
        check_equal("clear", set_debugreg(i, 0), 0);
    }
    check_true("upper half of DR6", set_debugreg(6, 1ull << 32) < 0);
    check_true("upper half of DR7", set_debugreg(7, 1ull << 32) < 0);
    check_equal("general detect in DR7", set_debugreg(7, 1 << 13), -CERO_EPERM);
    check_equal("clear DR7", set_debugreg(7, 0), 0);
    check_true("register that does not exist", set_debugreg(8, 0) < 0);
    check_true("register that does not exist", get_debugreg(8) < 0);

    static volatile Word watched;
    check_equal("watch writes", set_debugreg(0, address(&watched)), 0);
    check_equal("enable it", set_debugreg(7, 0x90001), 0);
    check_trap("write to it", guarded([] { watched = 1; }), debug);
    check_equal("DR6 tells which", get_debugreg(6) & 0xf, 1);
    check_equal("disable it", set_debugreg(7, 0), 0);
    check_true("write to it", !guarded([] { watched = 1; }).happened());
}

void task_switched() {
    check_equal("set TS", fpu_taskswitch(1), 0);
    check_trap("FPU instruction", guarded([] { asm volatile("fninit"); }), device_not_available);
    check_equal("clear TS", fpu_taskswitch(0), 0);
    check_true("FPU instruction", !guarded([] { asm volatile("fninit"); }).happened());
}

} // namespace

void guest::test_main() {
    segment_bases();
    base_instructions();
    kernel_stack();
    debug_registers();
    task_switched();
}
