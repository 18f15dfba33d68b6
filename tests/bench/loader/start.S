# SPDX-License-Identifier: BSD-2-Clause
# Multiboot 1 header for QEMU's -kernel, and the way into loader.cpp and out of it.
.code32
.section .header, "a"
.balign 4
    .long 0x1BADB002, 3, -(0x1BADB002 + 3)      # page-aligned modules, memory map

.text
.global start
start:
    mov $stack_top, %esp
    push %ebx
    push %eax
    call prepare                                # never returns

# leave(entry, information): as a Multiboot2 loader does.
.global leave
leave:
    mov 4(%esp), %ecx
    mov 8(%esp), %ebx
    mov $0x36D76289, %eax
    jmp *%ecx

.bss
.balign 16
.skip 16384
stack_top:
