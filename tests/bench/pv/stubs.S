// SPDX-License-Identifier: BSD-2-Clause
// The shortest handlers that a kernel can have, so that what is measured is the hypervisor, not the guest.

.macro iret_hypercall
        pushq $0
        push %rcx
        push %r11
        push %rax
        mov $23, %eax
        syscall
.endm

        .text
// Exceptions: skip the instruction (its length is in bench_skip) and return.
        .global bench_fault_stub, bench_fault_native_stub, bench_trap_stub, bench_ud_stub
bench_fault_stub:                       // with error code
        pop %rcx
        pop %r11
        add $8, %rsp
        mov bench_skip(%rip), %rax
        add %rax, (%rsp)
        iret_hypercall
bench_fault_native_stub:                // the same, back by the processor's own instruction
        pop %rcx
        pop %r11
        add $8, %rsp
        mov bench_skip(%rip), %rax
        add %rax, (%rsp)
        orl $3, 8(%rsp)
        iretq
bench_trap_stub:                        // without error code, rip is already behind
        pop %rcx
        pop %r11
        iret_hypercall
bench_ud_stub:
        pop %rcx
        pop %r11
        addq $2, (%rsp)
        iret_hypercall

// System call: number 0 returns at once; any other is the runtime's.
        .global bench_syscall_callback
bench_syscall_callback:
        test %eax, %eax
        jnz rt_syscall_callback
        pop %rcx
        pop %r11
        iret_hypercall

// void bench_user_calls(count): in user mode, so many system calls, then the one that ends.
        .global bench_user_calls
bench_user_calls:
        mov %rdi, %rbx
        test %rbx, %rbx
        jz 2f
1:      xor %eax, %eax
        syscall
        dec %rbx
        jnz 1b
2:      mov $1, %eax
        syscall
        ud2

// void bench_user_faults(count): the same with stores to an address that is not mapped (6 bytes each).
        .global bench_user_faults
bench_user_faults:
        mov %rdi, %rbx
        test %rbx, %rbx
        jz 2f
1:      mov bench_fault_address(%rip), %rdx
        movl $0, (%rdx)
        nop
        dec %rbx
        jnz 1b
2:      mov $1, %eax
        syscall
        ud2

// void bench_kernel_fault(): one such store in kernel mode.
        .global bench_kernel_fault
bench_kernel_fault:
        mov bench_fault_address(%rip), %rdx
        movl $0, (%rdx)
        nop
        ret

// void bench_iret(): the iret hypercall to the next instruction.
        .global bench_iret
bench_iret:
        mov %rsp, %rdx
        pushq $0xe02b
        push %rdx
        pushq $2
        pushq $0xe030
        lea 1f(%rip), %rdx
        push %rdx
        iret_hypercall
1:      ret

        .data
        .align 8
        .global bench_skip, bench_fault_address
bench_skip:          .quad 6
bench_fault_address: .quad 0xffffffffc0000000

        .section .note.GNU-stack, "", @progbits
