/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies between the hypervisor and guest memory. A fault ends the copy; rax = bytes not copied. */

#include <arch/x86_64/trap/guest_access.S>

        .section .text.entry, "ax"
/* uint64_t copy_guest_bytes(void* to, const void* from, uint64_t bytes) */
        .globl  copy_guest_bytes
copy_guest_bytes:
        GUEST_ACCESS 0
        movq    %rdx, %rcx
        shrq    $3, %rcx
0:      rep movsq
        movl    %edx, %ecx
        andl    $7, %ecx
1:      rep movsb
        GUEST_ACCESS 1
        xorl    %eax, %eax
        ret
copy_faulted:
        GUEST_ACCESS 1
        movl    $1, %eax
        ret
        MAY_FAULT copy_faulted, 0b, 1b

/* uint64_t clear_guest_bytes(void* to, uint64_t bytes) */
        .globl  clear_guest_bytes
clear_guest_bytes:
        GUEST_ACCESS 0
        xorl    %eax, %eax
        movq    %rsi, %rcx
0:      rep stosb
        GUEST_ACCESS 1
        ret
        MAY_FAULT copy_faulted, 0b

/* bool load_data_selectors... one function per register: uint64_t load_xx(uint16_t); 0 = loaded. */
.macro LOADER name, register
        .globl  \name
\name:
0:      movw    %di, %\register
        xorl    %eax, %eax
        ret
        MAY_FAULT selector_faulted, 0b
.endm
        LOADER load_ds, ds
        LOADER load_es, es
        LOADER load_fs, fs
/* The guest's GS: its base lands in the swapped register. */
        .globl  load_gs
load_gs:
        swapgs
0:      movw    %di, %gs
        swapgs
        xorl    %eax, %eax
        ret
1:      xorl    %eax, %eax
        movw    %ax, %gs
        swapgs
        movl    $1, %eax
        ret
        MAY_FAULT 1b, 0b
selector_faulted:
        movl    $1, %eax
        ret

        .section .note.GNU-stack, "", @progbits
