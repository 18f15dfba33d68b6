/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF notes for the domain builder, and the first instructions of the domain. */
#include "arch/x86_64/asm_offsets.h"

.macro XEN_NOTE_WORD type, value
    .balign 4
    .long 4, 8, \type
    .asciz "Xen"
    .quad \value
.endm
.macro XEN_NOTE_TEXT type, text
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  .asciz "\text"
2:
.endm

    .section .note.Xen, "a", @note
    XEN_NOTE_TEXT 6, "cero-kernel"
    XEN_NOTE_TEXT 7, "0.1"
    XEN_NOTE_TEXT 5, "xen-3.0"
    XEN_NOTE_TEXT 8, "generic"
    XEN_NOTE_WORD 3, 0xffffffff80000000
    XEN_NOTE_WORD 4, 0
    XEN_NOTE_WORD 1, _start
    /* The hypervisor stays below what we use as direct map. */
    XEN_NOTE_WORD 12, 0xffff800000000000
    /* mod_start is a frame number: the initial ramdisk needs no mapping. */
    .balign 4
    .long 4, 4, 16
    .asciz "Xen"
    .long 1
    /* bit 11: can be the first domain */
    .balign 4
    .long 4, 4, 17
    .asciz "Xen"
    .long 0x800

    .section .text.entry, "ax"
    .globl _start
_start:
    cld
    lea     boot_stack(%rip), %rax
    lea     KERNEL_STACK_SIZE(%rax), %rdx
    mov     %rsp, %r12                /* top of the builder's stack: the end of start-of-day data */
    mov     %rdx, %rsp
    xor     %ebp, %ebp
    mov     %rsi, %rdi
    mov     %r12, %rsi
    call    kernel_start
    ud2
    .section .note.GNU-stack, "", @progbits
