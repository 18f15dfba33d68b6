// SPDX-License-Identifier: BSD-2-Clause
// Start-up of a test kernel: ELF notes, entry, trap and callback stubs, the way to user mode and back.

#define PAGE_SIZE 4096
#define HYPERCALL_iret 23
#define FLAT_RING3_CS64 0xe033
#define FLAT_RING3_SS 0xe02b

// ---------------------------------------------------------------------------------------------------------------
// Notes: owner "Xen"; the description is a string, or a quadword.

.macro note_string type, text:vararg
        .align 4
        .long 4
        .long 8801f - 8800f
        .long \type
        .asciz "Xen"
8800:   .asciz \text
8801:   .align 4
.endm

.macro note_quad type, value:vararg
        .align 4
        .long 4
        .long 8
        .long \type
        .asciz "Xen"
        .quad \value
.endm

        .section .note.Xen, "a", @note
        note_string 6, "cero-test"
        note_string 5, "xen-3.0"
        note_quad 3, VIRT_BASE
        note_quad 4, 0
        note_quad 1, _start
        note_quad 2, hypercall_page
        note_string 10, "!writable_page_tables|pae_pgdir_above_4gb"
        note_string 9, "yes"
        note_string 8, "generic"

        .section .text.hypercall_page, "ax", @progbits
        .align PAGE_SIZE
        .global hypercall_page
hypercall_page:
        .skip PAGE_SIZE, 0xcc

// ---------------------------------------------------------------------------------------------------------------

        .section .text
        .global _start
_start:
        // What the hypervisor left, kept for the test of the start-of-day state.
        mov %rsp, rt_start_rsp(%rip)
        pushfq
        popq rt_start_rflags(%rip)
        mov %cs, rt_start_selectors(%rip)
        mov %ss, rt_start_selectors+2(%rip)
        mov %ds, rt_start_selectors+4(%rip)
        mov %es, rt_start_selectors+6(%rip)
        mov %fs, rt_start_selectors+8(%rip)
        mov %gs, rt_start_selectors+10(%rip)
        mov %rax, rt_start_registers(%rip)
        mov %rbx, rt_start_registers+8(%rip)
        mov %rcx, rt_start_registers+16(%rip)
        mov %rdx, rt_start_registers+24(%rip)
        mov %rdi, rt_start_registers+32(%rip)
        mov %rbp, rt_start_registers+40(%rip)
        mov %r8, rt_start_registers+48(%rip)
        mov %r9, rt_start_registers+56(%rip)
        mov %r10, rt_start_registers+64(%rip)
        mov %r11, rt_start_registers+72(%rip)
        mov %r12, rt_start_registers+80(%rip)
        mov %r13, rt_start_registers+88(%rip)
        mov %r14, rt_start_registers+96(%rip)
        mov %r15, rt_start_registers+104(%rip)
        cld
        lea rt_stack_top(%rip), %rsp
        xor %ebp, %ebp
        mov %rsi, %rdi
        call rt_main
        ud2

// A second vCPU starts here, its stack set by the context that it was given.
        .global rt_secondary_start
rt_secondary_start:
        cld
        xor %ebp, %ebp
        call rt_secondary_main
        ud2

// ---------------------------------------------------------------------------------------------------------------
// Traps. On entry: rcx, r11, [error code], rip, cs, rflags, rsp, ss. `Regs` in trap.hpp is what the stubs build.

.macro trap_stub vector has_error
        .align 16
rt_trap_\vector:
        pop %rcx
        pop %r11
.if \has_error == 0
        pushq $0
.endif
        pushq $\vector
        jmp rt_trap_common
.endm

.macro save_registers
        push %rdi
        push %rsi
        push %rdx
        push %rcx
        push %rax
        push %r8
        push %r9
        push %r10
        push %r11
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
.endm

.macro restore_registers
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        pop %r11
        pop %r10
        pop %r9
        pop %r8
        pop %rax
        pop %rcx
        pop %rdx
        pop %rsi
        pop %rdi
.endm

rt_trap_common:
        save_registers
        mov %rsp, %rdi
        mov %rsp, %rbx
        and $-16, %rsp
        call rt_trap
        mov %rbx, %rsp
        .global rt_return_from_trap
rt_return_from_trap:
        restore_registers
        add $16, %rsp                   // vector and error code
        // The frame of the iret hypercall: rax, r11, rcx, flags, then the hardware's five.
        pushq $0
        push %rcx
        push %r11
        push %rax
        mov $HYPERCALL_iret, %eax
        syscall
        ud2

        .set vector, 0
.irp vector, 0,1,2,3,4,5,6,7,9,15,16,18,19,20,22,23,24,25,26,27,28,29,30,31
        trap_stub \vector 0
.endr
.irp vector, 8,10,11,12,13,14,17,21
        trap_stub \vector 1
.endr
        trap_stub 128 0
        trap_stub 129 0

        .section .rodata
        .align 8
        .global rt_trap_stubs
rt_trap_stubs:
.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        .quad rt_trap_\vector
.endr
        .global rt_trap_stub_128, rt_trap_stub_129
rt_trap_stub_128: .quad rt_trap_128
rt_trap_stub_129: .quad rt_trap_129
        .section .text

// ---------------------------------------------------------------------------------------------------------------
// Callbacks. Event and syscall: as a trap without error code. Failsafe: ds, es, fs, gs stand before rip.

        .align 16
        .global rt_event_callback
rt_event_callback:
        pop %rcx
        pop %r11
        pushq $0
        pushq $256
        jmp rt_trap_common

        .align 16
        .global rt_syscall_callback
rt_syscall_callback:
        pop %rcx
        pop %r11
        pushq $0
        pushq $257
        jmp rt_trap_common

        .align 16
        .global rt_failsafe_callback
rt_failsafe_callback:
        pop %rcx
        pop %r11
        popq rt_failsafe_selectors(%rip)
        popq rt_failsafe_selectors+8(%rip)
        popq rt_failsafe_selectors+16(%rip)
        popq rt_failsafe_selectors+24(%rip)
        pushq $0
        pushq $258
        jmp rt_trap_common

// ---------------------------------------------------------------------------------------------------------------
// long rt_guarded_call(long (*body)(void*), void* argument): runs body; a trap inside ends it by rt_abandon_call.

.macro push_callee_saved
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
.endm

.macro pop_callee_saved
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
.endm

        .global rt_guarded_call
rt_guarded_call:
        push_callee_saved
        pushq rt_guard_rsp(%rip)        // guards nest; also keeps the stack 16-byte aligned
        mov %rsp, rt_guard_rsp(%rip)
        mov %rdi, %rax
        mov %rsi, %rdi
        call *%rax
        popq rt_guard_rsp(%rip)
        pop_callee_saved
        ret

        .global rt_abandon_call
rt_abandon_call:
        mov rt_guard_rsp(%rip), %rsp
        popq rt_guard_rsp(%rip)
        pop_callee_saved
        cld
        mov $-1, %rax
        ret

// void rt_enter_user(rip, rsp, rflags, argument): goes to guest user mode; the next trap or syscall comes back here
// by rt_leave_user.
        .global rt_enter_user
rt_enter_user:
        push_callee_saved
        mov %rsp, rt_user_rsp(%rip)
        pushq $FLAT_RING3_SS
        push %rsi
        push %rdx
        pushq $FLAT_RING3_CS64
        push %rdi
        mov %rcx, %rdi                  // the user code's argument
        pushq $0
        push %rcx
        push %r11
        push %rax
        mov $HYPERCALL_iret, %eax
        syscall
        ud2

        .global rt_leave_user
rt_leave_user:
        mov rt_user_rsp(%rip), %rsp
        pop_callee_saved
        cld
        ret

// ---------------------------------------------------------------------------------------------------------------

        .section .bss
        .align PAGE_SIZE
rt_stack:
        .skip 65536
rt_stack_top:
        .align PAGE_SIZE
        .global rt_trap_stack_top
        .skip 32768
rt_trap_stack_top:
        .align 8
        .global rt_guard_rsp, rt_start_rsp, rt_start_rflags, rt_start_selectors, rt_start_registers
        .global rt_failsafe_selectors
rt_guard_rsp:          .quad 0
rt_user_rsp:           .quad 0
rt_start_rsp:          .quad 0
rt_start_rflags:       .quad 0
rt_start_selectors:    .skip 16
rt_start_registers:    .skip 112
rt_failsafe_selectors: .skip 32

        .section .note.GNU-stack, "", @progbits
