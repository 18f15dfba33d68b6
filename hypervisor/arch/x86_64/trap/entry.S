/* SPDX-License-Identifier: BSD-2-Clause */
/* Every way into the hypervisor and back. Rules:
 *  - A guest's registers are saved into its ArchVcpu, never on a stack: SYSCALL code pushes there, exceptions
 *    from ring 3 find TSS.rsp0 at the end of `regs`.
 *  - Short paths save the registers that C++ clobbers; rbx, rbp, r12..r15 stay live in the CPU. The full paths
 *    (emulation, anything that may schedule) save them too.
 *  - In the hypervisor GS is the per-CPU area, and the swapped one belongs to the guest; interrupts are off.
 *  - NMI, #MC, #DF and #DB have stacks of their own: they may arrive before the first instruction of an entry.
 *  - `clac`/`stac` sites are three-byte nops until apply_patch_sites() finds SMAP. */
#include <arch/x86_64/asm_offsets.h>
#include <arch/x86_64/layout.h>
#include <arch/x86_64/trap/guest_access.S>

#define SYSCALL_MARK 0x100
#define MSR_GS_BASE 0xc0000101

.macro PUSH_CLOBBERED
        .irp reg, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11
        pushq   %\reg
        .endr
.endm
/* SYSCALL leaves rsp to us, rip in rcx and rflags in r11. */
.macro SYSCALL_STACK
        swapgs
        movq    %rsp, %gs:PERCPU_SCRATCH
        movq    %gs:PERCPU_REGS_END, %rsp
.endm
.macro SYSCALL_FRAME cs
        pushq   $CERO_SEL_RING3_SS
        pushq   %gs:PERCPU_SCRATCH
        pushq   %r11
        pushq   \cs
        pushq   %rcx
.endm
.macro SYSCALL_REGISTERS
        pushq   $SYSCALL_MARK
        PUSH_CLOBBERED
.endm
.macro GUEST_ENTRY
        GUEST_ACCESS 1
        testb   $3, 16(%rsp)
        jz      from_hypervisor
        swapgs
        cld
        PUSH_CLOBBERED
.endm
.macro PUSH_PRESERVED
        .irp reg, rbx, rbp, r12, r13, r14, r15
        pushq   %\reg
        .endr
.endm
.macro POP_ALL                          /* and drop the error code and the vector */
        .irp reg, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
        popq    %\reg
        .endr
        addq    $8, %rsp
.endm
/* On this CPU's stack, with the current vCPU as the argument. */
.macro CALL_FOR_VCPU function
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    %gs:PERCPU_STACK_TOP, %rsp
        call    \function
.endm
/* rdi = vcpu */
.macro SAVE_PRESERVED
        leaq    VCPU_REGS_BELOW_RBX(%rdi), %rsp
        PUSH_PRESERVED
        movq    %gs:PERCPU_STACK_TOP, %rsp
.endm
/* rdi = vcpu; registers that lie one after the other in memory */
.macro LOAD_FROM first, regs:vararg
        .set    offset, \first
        .irp reg, \regs
        movq    offset(%rdi), %\reg
        .set    offset, offset + 8
        .endr
.endm
/* rdi = vcpu; jumps to \slow when anything is to be done before the guest runs, to \event when that is
 * just an event to deliver. Clobbers rcx. */
.macro CHECK_EXIT_WORK slow, event
        movl    %gs:PERCPU_SOFTIRQS, %ecx
        orl     VCPU_EXIT_WORK(%rdi), %ecx
        jnz     \slow
        movq    VCPU_INFO(%rdi), %rcx
        movzwl  (%rcx), %ecx            /* pending in the low byte, mask in the high one */
        decl    %ecx
        cmpl    $254, %ecx              /* pending set, mask clear */
        jbe     \event
.endm

        .section .text.entry, "ax"

/* ---- SYSCALL: a hypercall, or the guest user's system call ---- */
        .globl  syscall_entry
        .balign 64
syscall_entry:
        SYSCALL_STACK
        cmpb    $0, (VCPU_USER_MODE - VCPU_REGS_END)(%rsp)
        jne     guest_system_call
        cmpq    $HYPERCALL_IRET, %rax
        je      iret_hypercall
hypercall:
        SYSCALL_FRAME $CERO_SEL_RING3_CS64
        SYSCALL_REGISTERS
        movq    %gs:PERCPU_STACK_TOP, %rsp
        movq    %r10, %rcx
        cmpq    $64, %rax
        jae     hypercall_unknown
        leaq    _ZN4cero15hypercall_tableE(%rip), %r11
        call    *(%r11, %rax, 8)
hypercall_return:
        movq    %gs:PERCPU_CURRENT, %rdi
        testq   %rax, %rax
        js      hypercall_failed
exit_syscall:                           /* rdi = vcpu, rax = result; rbx, rbp, r12..r15 live */
        CHECK_EXIT_WORK exit_syscall_slow, exit_syscall_event
        movq    VCPU_RIP(%rdi), %rcx
        cmpq    non_canonical_edge(%rip), %rcx /* SYSCALL at the very end of the lower half: SYSRET would */
        je      exit_syscall_slow       /* fault in ring 0 with the guest's stack */
        movq    VCPU_RFLAGS(%rdi), %r11
        movq    VCPU_R8(%rdi), %r8
        movq    VCPU_R9(%rdi), %r9
        movq    VCPU_R10(%rdi), %r10
        movq    VCPU_RDX(%rdi), %rdx
        movq    VCPU_RSI(%rdi), %rsi
        movq    VCPU_RSP(%rdi), %rsp
        movq    VCPU_RDI(%rdi), %rdi
        swapgs
        sysretq

hypercall_unknown:
        movq    $-38, %rax              /* ENOSYS */
        jmp     hypercall_return
hypercall_failed:
        movq    VCPU_RAX(%rdi), %rsi    /* the number */
        movq    %rax, %rdx
        call    _ZN4cero16finish_hypercallERNS_4VcpuEml
        movq    %gs:PERCPU_CURRENT, %rdi
        jmp     exit_syscall
exit_syscall_slow:
        movq    %rax, VCPU_RAX(%rdi)
        SAVE_PRESERVED
        jmp     exit_after_work

exit_syscall_event:
        movq    %rax, VCPU_RAX(%rdi)
        call    deliver_event
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    VCPU_RAX(%rdi), %rax
        jmp     exit_syscall

/* A guest's system call as it is nearly always: nothing waits, its kernel uses FSGSBASE. Registers but
 * rcx and r11, whose values the frame holds, stay in the CPU. deliver_system_call() does the rest; both do the same [D.4]. */
guest_system_call:
        SYSCALL_FRAME $CERO_SEL_RING3_CS64
        movq    %rdi, (VCPU_RDI - VCPU_RIP)(%rsp)
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    %gs:PERCPU_STACK_TOP, %rsp      /* the guest's stack may fault */
        movl    %gs:PERCPU_SOFTIRQS, %ecx
        orl     VCPU_EXIT_WORK(%rdi), %ecx
        jnz     guest_system_call_full
        testb   $CR4_FSGSBASE >> 16, VCPU_CR4 + 2(%rdi)
        jz      guest_system_call_full
        cmpq    $0, VCPU_SYSCALL(%rdi)
        je      guest_system_call_full
        movq    VCPU_KERNEL_SP(%rdi), %rcx
        andq    $-16, %rcx
        leaq    -56(%rcx), %r11
        shrq    $HYPERVISOR_HOLE_SHIFT, %r11
        cmpq    $HYPERVISOR_HOLE, %r11
        je      guest_system_call_full
        movq    VCPU_INFO(%rdi), %r11
        cmpb    $0, 1(%r11)
        jne     guest_system_call_full
        cmpb    $0, VCPU_SYSCALL_MASKS(%rdi)
        je      guest_system_call_unmasked
        movb    $1, 1(%r11)
guest_system_call_mode:
        movb    $0, VCPU_USER_MODE(%rdi)
        movq    VCPU_KERNEL_CR3(%rdi), %r11
        movq    %r11, %cr3
        GUEST_ACCESS 0
10:     movq    $CERO_SEL_RING3_SS, -8(%rcx)
        movq    VCPU_RSP(%rdi), %r11
11:     movq    %r11, -16(%rcx)
12:     movq    $CERO_SEL_RING3_CS64, -32(%rcx) /* events were not masked */
        movq    VCPU_RIP(%rdi), %r11
13:     movq    %r11, -40(%rcx)
14:     movq    %r11, -56(%rcx)                 /* rcx and r11: what SYSCALL had left in them */
        movq    VCPU_RFLAGS(%rdi), %r11
15:     movq    %r11, -24(%rcx)
16:     movq    %r11, -48(%rcx)
        GUEST_ACCESS 1
        leaq    -56(%rcx), %rsp                 /* the guest's from here on */
        movq    VCPU_GS_BASE_INACTIVE(%rdi), %rcx
        swapgs
        rdgsbase %r11
        wrgsbase %rcx
        movq    %r11, VCPU_GS_BASE_INACTIVE(%rdi)
        movl    VCPU_RFLAGS(%rdi), %r11d
        andl    $~RFLAGS_CLEARED_BY_SYSCALL, %r11d
        movq    VCPU_SYSCALL(%rdi), %rcx        /* canonical: not the address that SYSRET would fault for */
        movq    VCPU_RDI(%rdi), %rdi
        sysretq
        MAY_FAULT guest_system_call_refused, 10b, 11b, 12b, 13b, 14b, 15b, 16b

guest_system_call_unmasked:             /* events stay unmasked: one may be waiting */
        cmpb    $0, (%r11)
        je      guest_system_call_mode
        jmp     guest_system_call_full
guest_system_call_refused:
        GUEST_ACCESS 1
        movb    $1, VCPU_USER_MODE(%rdi)
        movq    VCPU_INFO(%rdi), %r11
        movb    $0, 1(%r11)
guest_system_call_full:
        movq    VCPU_RIP(%rdi), %rcx
        movq    VCPU_RFLAGS(%rdi), %r11
        leaq    VCPU_RIP(%rdi), %rsp
        movq    VCPU_RDI(%rdi), %rdi
        SYSCALL_REGISTERS
        CALL_FOR_VCPU deliver_system_call
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    VCPU_RAX(%rdi), %rax
        jmp     exit_syscall

/* The iret hypercall [D.6] as it is nearly always. All registers but rax, rcx and r11, which the frame holds, stay in
 * the CPU; what is left to return_from_trap(), which does the same, starts over. */
iret_hypercall:
        movq    %rdi, (VCPU_RDI - VCPU_REGS_END)(%rsp)
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    %gs:PERCPU_SCRATCH, %rax        /* the frame */
        movq    %gs:PERCPU_STACK_TOP, %rsp      /* it may fault */
        leaq    72(%rax), %rcx
        shrq    $HYPERVISOR_HOLE_SHIFT, %rcx
        cmpq    $HYPERVISOR_HOLE, %rcx
        je      iret_hypercall_full
        GUEST_ACCESS 0
20:     testl   $IRET_IN_SYSCALL, 24(%rax)
        jnz     iret_hypercall_full
21:     movq    8(%rax), %r11
        movq    %r11, VCPU_R11(%rdi)
22:     movq    16(%rax), %r11
        movq    %r11, VCPU_RCX(%rdi)
23:     movq    32(%rax), %r11
        movq    %r11, VCPU_RIP(%rdi)
24:     movq    56(%rax), %r11
        movq    %r11, VCPU_RSP(%rdi)
25:     movzwl  64(%rax), %r11d
        orl     $3, %r11d
        movq    %r11, VCPU_SS(%rdi)
26:     movl    48(%rax), %r11d
27:     movzwl  40(%rax), %ecx
28:     movq    (%rax), %rax
        GUEST_ACCESS 1
        movq    %rax, VCPU_RAX(%rdi)
        movl    %r11d, %eax
        andl    $~RFLAGS_NEVER, %eax
        orl     $RFLAGS_ALWAYS, %eax
        movq    %rax, VCPU_RFLAGS(%rdi)
        movl    %ecx, %eax
        orl     $3, %eax
        movq    %rax, VCPU_CS(%rdi)
        cmpl    %eax, %ecx                      /* had its level been 3? */
        je      iret_hypercall_to_user
iret_hypercall_mask:
        movb    $0, VCPU_NMI_MASKED(%rdi)
        testl   $RFLAGS_IF, %r11d
        movq    VCPU_INFO(%rdi), %rcx
        setz    1(%rcx)
        CHECK_EXIT_WORK iret_hypercall_work, iret_hypercall_work
        leaq    VCPU_RIP(%rdi), %rsp
        LOAD_FROM VCPU_R11, r11
        LOAD_FROM VCPU_RAX, rax, rcx
        movq    VCPU_RDI(%rdi), %rdi
        jmp     exit_iret
        MAY_FAULT iret_hypercall_full, 20b, 21b, 22b, 23b, 24b, 25b, 26b, 27b, 28b

iret_hypercall_to_user:                 /* the frame, which the user's tables do not map, has been read */
        testb   $CR4_FSGSBASE >> 16, VCPU_CR4 + 2(%rdi)
        jz      iret_hypercall_full
        movq    VCPU_USER_CR3(%rdi), %rax
        testq   %rax, %rax
        jz      iret_hypercall_full
        movb    $1, VCPU_USER_MODE(%rdi)
        movq    %rax, %cr3
        movq    VCPU_GS_BASE_INACTIVE(%rdi), %rcx
        swapgs
        rdgsbase %rax
        wrgsbase %rcx
        swapgs
        movq    %rax, VCPU_GS_BASE_INACTIVE(%rdi)
        jmp     iret_hypercall_mask
iret_hypercall_work:
        movq    %r10, VCPU_R10(%rdi)
        movq    %r9, VCPU_R9(%rdi)
        movq    %r8, VCPU_R8(%rdi)
        movq    %rdx, VCPU_RDX(%rdi)
        movq    %rsi, VCPU_RSI(%rdi)
        jmp     exit_short
iret_hypercall_full:                    /* nothing but saved registers has changed */
        GUEST_ACCESS 1
        movl    $RFLAGS_ALWAYS, %r11d   /* not a word of the frame */
        leaq    VCPU_REGS_END(%rdi), %rsp
        movq    VCPU_RDI(%rdi), %rdi
        movl    $HYPERCALL_IRET, %eax
        jmp     hypercall

/* Row 23 of the table. Does not return to the dispatcher: all registers come from the frame. */
        .globl  hypercall_iret
hypercall_iret:
        CALL_FOR_VCPU return_from_trap
        movq    %gs:PERCPU_CURRENT, %rdi
exit_short:                             /* rdi = vcpu; rbx, rbp, r12..r15 live */
        CHECK_EXIT_WORK exit_short_slow, exit_short_event
        leaq    VCPU_RIP(%rdi), %rsp
        LOAD_FROM VCPU_R11, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
exit_iret:
        swapgs
        .globl  iret_short
iret_short:
        iretq
exit_short_event:
        call    deliver_event
        movq    %gs:PERCPU_CURRENT, %rdi
        jmp     exit_short
exit_short_slow:
        SAVE_PRESERVED
exit_after_work:
        call    exit_work
exit_full:                              /* the current vCPU's registers are all in memory, nothing to do */
        movq    %gs:PERCPU_CURRENT, %rdi
        leaq    VCPU_R15(%rdi), %rsp
        POP_ALL
        swapgs
        .globl  iret_full
iret_full:
        iretq

/* IRETQ to the guest faulted: bad selector, stack or rip. GPRs are the guest's, GS is the guest's, the fault
 * frame lies over the saved registers below rip. */
iret_faulted:
        swapgs
        popq    %gs:PERCPU_SCRATCH      /* error code and vector */
        movq    %gs:PERCPU_REGS_END, %rsp
        subq    $40, %rsp
        pushq   %gs:PERCPU_SCRATCH
        PUSH_CLOBBERED
        PUSH_PRESERVED
        CALL_FOR_VCPU deliver_iret_fault
        jmp     exit_after_work

/* ---- Exceptions ---- */
.macro STUB vector, has_code, target
        .balign 16
stub_\vector:
        .if \has_code == 0
        pushq   $0
        .endif
        movl    $\vector, 4(%rsp)
        jmp     \target
.endm

/* The short path delivers most of them; what it leaves is emulated with all registers saved. */
.macro EXCEPTION short, full
        GUEST_ENTRY
        CALL_FOR_VCPU \short
        movq    %gs:PERCPU_CURRENT, %rdi
        testb   %al, %al
        jnz     exit_short
        SAVE_PRESERVED
        call    \full
        movq    %gs:PERCPU_CURRENT, %rdi
        CHECK_EXIT_WORK exit_after_work, exit_after_work
        jmp     exit_full
.endm
page_fault_entry:
        EXCEPTION page_fault_from_guest, page_fault_emulation
exception_entry:
        EXCEPTION exception_from_guest, exception_emulation

interrupt_entry:
        GUEST_ENTRY
        movl    (VCPU_ERROR + 4 - VCPU_R11)(%rsp), %edi
        movq    %gs:PERCPU_STACK_TOP, %rsp
        call    handle_interrupt
        movq    %gs:PERCPU_CURRENT, %rdi
        jmp     exit_short

from_hypervisor:                        /* on this CPU's stack; GS is ours unless IRETQ faulted */
        pushq   %rax
        leaq    iret_short(%rip), %rax
        cmpq    %rax, 16(%rsp)
        je      1f
        leaq    iret_full(%rip), %rax
        cmpq    %rax, 16(%rsp)
        je      1f
        popq    %rax
        cld
        PUSH_CLOBBERED
        PUSH_PRESERVED
        movq    %rsp, %rdi
        call    trap_from_hypervisor
        POP_ALL
        iretq
1:      popq    %rax
        jmp     iret_faulted

/* ---- Own stacks: the per-CPU area is found from the stack's address, whatever GS holds ---- */
.macro ON_OWN_STACK function
        GUEST_ACCESS 1
        cld
        PUSH_CLOBBERED
        PUSH_PRESERVED
        movl    $MSR_GS_BASE, %ecx
        rdmsr
        movl    %eax, %ebx
        movl    %edx, %r12d
        movq    %rsp, %rax
        andq    $-(1 << CERO_CPU_AREA_SHIFT), %rax
        movq    %rax, %rdx
        shrq    $32, %rdx
        wrmsr
        movq    %rsp, %rdi
        call    \function
        movl    $MSR_GS_BASE, %ecx
        movl    %ebx, %eax
        movl    %r12d, %edx
        wrmsr
        POP_ALL
        iretq
.endm
nmi_entry:
        ON_OWN_STACK non_maskable_interrupt
fatal_entry:
        ON_OWN_STACK fatal_trap
debug_entry:
        testb   $3, 16(%rsp)
        jnz     1f
        ON_OWN_STACK debug_from_hypervisor
1:      GUEST_ACCESS 1
        swapgs
        cld
        PUSH_CLOBBERED
        PUSH_PRESERVED
        movq    %gs:PERCPU_CURRENT, %rdi
        movq    %rsp, %rsi
        call    take_debug_frame        /* before any access to guest memory: a watchpoint there would */
        movl    $1, %esi                /* overwrite this stack */
        CALL_FOR_VCPU _ZN4cero4arch16inject_exceptionERNS_4VcpuEj
        jmp     exit_after_work

        .irp vector, 0, 3, 4, 5, 6, 7, 9, 15, 16, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31
        STUB \vector, 0, exception_entry
        .endr
        .irp vector, 10, 11, 12, 13, 17, 21, 29, 30
        STUB \vector, 1, exception_entry
        .endr
        STUB 1, 0, debug_entry
        STUB 2, 0, nmi_entry
        STUB 8, 1, fatal_entry
        STUB 14, 1, page_fault_entry
        STUB 18, 0, fatal_entry
        STUB 128, 0, exception_entry    /* INT 0x80, which user programs may execute */

/* Interrupt vectors 32..255, 16 bytes each. */
        .balign 16
        .globl  interrupt_stubs
interrupt_stubs:
        .set    vector, 32
        .rept   224
        .balign 16
        pushq   $0
        movl    $vector, 4(%rsp)
        jmp     interrupt_entry
        .set    vector, vector + 1
        .endr

/* The two system calls of 32-bit programs: SYSCALL from compatibility mode (AMD), and SYSENTER (Intel). */
        .globl  syscall32_entry
syscall32_entry:
        SYSCALL_STACK
        SYSCALL_FRAME $CERO_SEL_RING3_CS32
        SYSCALL_REGISTERS
        PUSH_PRESERVED
        CALL_FOR_VCPU deliver_system_call_32
        jmp     exit_after_work

/* SYSENTER keeps neither rip nor rsp: the user has left them where its kernel expects them. TF, NT, DF and AC are
 * still the user's; single-stepped up to sysenter_ready, which debug_from_hypervisor() lets pass. */
        .globl  sysenter_entry, sysenter_ready
sysenter_entry:
        swapgs
        movq    %gs:PERCPU_REGS_END, %rsp
        pushq   $CERO_SEL_RING3_SS
        pushq   $0
        pushfq
        pushq   $2
        popfq
sysenter_ready:
        pushq   $CERO_SEL_RING3_CS32
        pushq   $0
        pushq   $SYSCALL_MARK
        PUSH_CLOBBERED
        PUSH_PRESERVED
        CALL_FOR_VCPU deliver_sysenter
        jmp     exit_after_work

/* The main loop of a CPU: nothing survives on the stack, so it starts over from the top. */
        .globl  run_guests_entry
run_guests_entry:
        movq    %gs:PERCPU_STACK_TOP, %rsp
        xorl    %ebp, %ebp
        jmp     exit_after_work

        .section .rodata, "a"
        .balign 8
non_canonical_edge:
        .quad   0x800000000000
        .globl  exception_stubs
exception_stubs:
        .irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        .quad   stub_\vector
        .endr
        .globl  software_interrupt_stub
software_interrupt_stub:
        .quad   stub_128
        .section .note.GNU-stack, "", @progbits
