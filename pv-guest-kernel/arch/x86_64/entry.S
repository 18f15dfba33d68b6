/* SPDX-License-Identifier: BSD-2-Clause */
/* Entry points that the hypervisor bounces to, the way back, and the switch between kernel threads. */
#include "arch/x86_64/asm_offsets.h"

/* A bounce frame starts with rcx and r11 (which SYSCALL destroys), then an error code for some vectors,
 * then rip, cs, rflags, rsp, ss. The saved registers below make it a TrapFrame. */
.macro SAVE_REGISTERS
    push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    push    %rax
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %rbx
    push    %rbp
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    cld
.endm

.macro TRAP name, vector, has_error
    .globl trap_\name
trap_\name:
    pop     %rcx
    pop     %r11
    .if \has_error == 0
    push    $0
    .endif
    SAVE_REGISTERS
    mov     $\vector, %esi
    jmp     trap_common
.endm

    .text
    TRAP divide_error, 0, 0
    TRAP debug, 1, 0
    TRAP nmi, 2, 0
    TRAP breakpoint, 3, 0
    TRAP overflow, 4, 0
    TRAP bounds, 5, 0
    TRAP invalid_opcode, 6, 0
    TRAP no_device, 7, 0
    TRAP double_fault, 8, 1
    TRAP invalid_tss, 10, 1
    TRAP no_segment, 11, 1
    TRAP stack_fault, 12, 1
    TRAP general_protection, 13, 1
    TRAP page_fault, 14, 1
    TRAP fp_error, 16, 0
    TRAP alignment, 17, 1
    TRAP machine_check, 18, 0
    TRAP simd_error, 19, 0
    TRAP control_protection, 21, 1
    TRAP event, VECTOR_EVENT, 0

/* Segment registers could not be loaded on the way to user mode; they are zero now. */
    .globl trap_failsafe
trap_failsafe:
    pop     %rcx
    pop     %r11
    add     $32, %rsp
    push    $0
    SAVE_REGISTERS
    mov     $VECTOR_FAILSAFE, %esi

trap_common:
    mov     %rsp, %rdi
    sub     $8, %rsp
    call    handle_trap
    add     $8, %rsp

/* rsp: TrapFrame. Its error code slot holds the flags for the hypercall by now. */
    .globl restore_frame
restore_frame:
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbp
    pop     %rbx
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rax
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
    push    %rcx
    push    %r11
    push    %rax
    mov     $IRET_HYPERCALL, %eax
    syscall
    ud2

    .globl trap_syscall
trap_syscall:
    pop     %rcx
    pop     %r11
    push    %rax
    SAVE_REGISTERS
    mov     %rsp, %rdi
    sub     $8, %rsp
    call    handle_syscall
    add     $8, %rsp
    jmp     restore_frame

/* void switch_stacks(void** save, void* load) */
    .globl switch_stacks
switch_stacks:
    push    %rbp
    push    %rbx
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    mov     %rsp, (%rdi)
    mov     %rsi, %rsp
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbx
    pop     %rbp
    ret

/* First code of a kernel thread: rbx = entry, r12 = argument. */
    .globl start_kernel_thread
start_kernel_thread:
    call    finish_first_switch
    mov     %r12, %rdi
    call    *%rbx
    call    end_kernel_thread
    ud2

/* First code of a user thread: its TrapFrame lies above. */
    .globl start_user_thread
start_user_thread:
    sub     $8, %rsp
    call    finish_first_switch
    lea     8(%rsp), %rdi
    call    finish_user_return
    add     $8, %rsp
    jmp     restore_frame

/* void enter_user(TrapFrame*): a kernel thread becomes a user thread */
    .globl enter_user
enter_user:
    mov     %rdi, %rsp
    jmp     restore_frame

/* size_t copy_user_raw(void* to, const void* from, size_t size): bytes that were not copied */
    .globl copy_user_raw
copy_user_raw:
    mov     %rdx, %rcx
    shr     $3, %rcx
    and     $7, %edx
1:  rep movsq
    mov     %edx, %ecx
2:  rep movsb
    xor     %eax, %eax
    ret
3:  lea     (%rdx,%rcx,8), %rax
    ret
4:  mov     %rcx, %rax
    ret
    .section .extable, "a"
    .quad   1b, 3b, 2b, 4b
    .text

/* size_t clear_user_raw(void* to, size_t size) */
    .globl clear_user_raw
clear_user_raw:
    mov     %rsi, %rcx
    and     $7, %esi
    shr     $3, %rcx
    xor     %eax, %eax
1:  rep stosq
    mov     %esi, %ecx
2:  rep stosb
    xor     %eax, %eax
    ret
3:  lea     (%rsi,%rcx,8), %rax
    ret
4:  mov     %rcx, %rax
    ret
    .section .extable, "a"
    .quad   1b, 3b, 2b, 4b
    .text

/* long copy_string_raw(char* to, const char* from, size_t size): length without NUL, size if none, -1 */
    .globl copy_string_raw
copy_string_raw:
    xor     %eax, %eax
1:  cmp     %rdx, %rax
    je      3f
2:  movb    (%rsi,%rax), %cl
    movb    %cl, (%rdi,%rax)
    testb   %cl, %cl
    jz      3f
    inc     %rax
    jmp     1b
3:  ret
4:  mov     $-1, %rax
    ret
    .section .extable, "a"
    .quad   2b, 4b
    .text

/* bool load_word_raw(uint64_t* out, const uint64_t* from): false if the load faults */
    .globl load_word_raw
load_word_raw:
    xor     %eax, %eax
1:  mov     (%rsi), %rsi
    mov     %rsi, (%rdi)
    inc     %eax
2:  ret
    .section .extable, "a"
    .quad   1b, 2b
    .text

/* int compare_exchange_user_raw(uint32_t* at, uint32_t* expected, uint32_t desired): 0 or -1 on a fault */
    .globl compare_exchange_user_raw
compare_exchange_user_raw:
    mov     (%rsi), %eax
1:  lock cmpxchgl %edx, (%rdi)
    mov     %eax, (%rsi)
    xor     %eax, %eax
    ret
2:  mov     $-1, %eax
    ret
    .section .extable, "a"
    .quad   1b, 2b
    .section .note.GNU-stack, "", @progbits
