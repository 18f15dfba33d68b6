/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies between the hypervisor and guest memory. A fault ends the copy; rax = bytes not copied. */

.macro GUEST_ACCESS kind
771:    .byte   0x0f, 0x1f, 0x00
        .pushsection .patch_sites, "a"
        .long   771b - ., \kind
        .popsection
.endm
.macro MAY_FAULT label, fixup
        .pushsection .extable, "a"
        .long   \label - ., \fixup - .
        .popsection
.endm

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
        MAY_FAULT 0b, copy_faulted
        MAY_FAULT 1b, copy_faulted

/* Up to 9 words without a loop: jumps into a sequence of eight-byte steps that ends with word 0.
 * uint64_t copy_guest_words(void* to, const void* from, uint64_t words), words in 1..9 */
        .globl  copy_guest_words
copy_guest_words:
        leaq    copy_last_word + 8(%rip), %rax
        shll    $3, %edx
        subq    %rdx, %rax
        GUEST_ACCESS 0
        jmp     *%rax
.macro COPY_WORD offset
881:    movq    \offset(%rsi), %rcx
882:    movq    %rcx, \offset(%rdi)
        MAY_FAULT 881b, copy_faulted
        MAY_FAULT 882b, copy_faulted
.endm
        .irp offset, 64, 56, 48, 40, 32, 24, 16, 8
        COPY_WORD \offset
        .endr
copy_last_word:
        COPY_WORD 0
        GUEST_ACCESS 1
        xorl    %eax, %eax
        ret

/* uint64_t clear_guest_bytes(void* to, uint64_t bytes) */
        .globl  clear_guest_bytes
clear_guest_bytes:
        GUEST_ACCESS 0
        xorl    %eax, %eax
        movq    %rsi, %rcx
0:      rep stosb
        GUEST_ACCESS 1
        ret
        MAY_FAULT 0b, copy_faulted

/* bool load_data_selectors... one function per register: uint64_t load_xx(uint16_t); 0 = loaded. */
.macro LOADER name, register
        .globl  \name
\name:
0:      movw    %di, %\register
        xorl    %eax, %eax
        ret
        MAY_FAULT 0b, selector_faulted
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
        MAY_FAULT 0b, 1b
selector_faulted:
        movl    $1, %eax
        ret

        .section .note.GNU-stack, "", @progbits
