/* SPDX-License-Identifier: BSD-2-Clause */
/* void hold(const void* load, void* store, long rounds, long call, unsigned mask, unsigned long gprs[8])
 * Loads the extended state from `load` and eight general registers from `gprs`, keeps them for `rounds` system calls
 * (`call` < 0: rounds of spinning), and stores what is in them then. */
        .globl  hold
        .type   hold, @function
hold:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %r9                     # 40: gprs
        push    %r8                     # 32: mask
        push    %rsi                    # 24: store
        push    %rcx                    # 16: call
        push    %rdx                    # 8: rounds
        push    $0
        mov     32(%rsp), %eax
        xor     %edx, %edx
        xrstor64 (%rdi)
        mov     40(%rsp), %rax
        mov     (%rax), %rbx
        mov     8(%rax), %rbp
        mov     16(%rax), %r12
        mov     24(%rax), %r13
        mov     32(%rax), %r14
        mov     40(%rax), %r15
        mov     48(%rax), %r8
        mov     56(%rax), %r9
1:      mov     16(%rsp), %rax
        test    %rax, %rax
        js      2f
        syscall
        jmp     4f
2:      mov     $2000, %ecx
3:      dec     %ecx
        jnz     3b
4:      decq    8(%rsp)
        jnz     1b
        mov     40(%rsp), %rax
        mov     %rbx, (%rax)
        mov     %rbp, 8(%rax)
        mov     %r12, 16(%rax)
        mov     %r13, 24(%rax)
        mov     %r14, 32(%rax)
        mov     %r15, 40(%rax)
        mov     %r8, 48(%rax)
        mov     %r9, 56(%rax)
        mov     24(%rsp), %rdi
        mov     32(%rsp), %eax
        xor     %edx, %edx
        xsave64 (%rdi)
        fninit
        add     $48, %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .section .note.GNU-stack, "", @progbits
