/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot2 header, and the way from the boot loader's 32-bit state to start_hypervisor() in C++. */
#include <arch/x86_64/layout.h>

#define PHYS(symbol) (symbol - CERO_IMAGE_OFFSET)
#define MULTIBOOT2_MAGIC 0x36d76289

        .section .multiboot, "a"
        .balign 8
header:
        .long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
        .balign 8
1:      .word 1, 1                      /* information request, optional */
        .long 2f - 1b
        .long 1, 2, 3, 6, 14, 15        /* command line, loader, modules, memory map, ACPI old, new */
2:      .balign 8
        .word 6, 0                      /* modules on page boundaries */
        .long 8
        .word 0, 0                      /* end */
        .long 8
header_end:

        .section .boot.text, "ax"
        .code32
        .globl multiboot_entry
multiboot_entry:
        cli
        cld
        movl    $PHYS(boot_stack_top), %esp
        pushl   $0
        popfl
        cmpl    $MULTIBOOT2_MAGIC, %eax
        movl    $text_loader, %esi
        jne     boot_failed
        movl    %ebx, %ebp

        movl    $0x80000000, %eax
        cpuid
        movl    $text_cpu, %esi
        cmpl    $0x80000001, %eax
        jb      boot_failed
        movl    $0x80000001, %eax
        cpuid
        movl    $text_cpu, %esi
        andl    $(1 << 29 | 1 << 20), %edx /* long mode, NX */
        cmpl    $(1 << 29 | 1 << 20), %edx
        jne     boot_failed

        /* The first 4 GiB in 2 MiB pages; the level-3 table serves slots 0 and 262. */
        movl    $PHYS(boot_l2), %edi
        movl    $0x83, %eax             /* present, writable, large */
        xorl    %edx, %edx
        movl    $2048, %ecx
1:      movl    %eax, (%edi)
        movl    %edx, 4(%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        decl    %ecx
        jnz     1b
        movl    $(PHYS(boot_l2) + 0x0003), PHYS(boot_l3)
        movl    $(PHYS(boot_l2) + 0x1003), PHYS(boot_l3) + 8
        movl    $(PHYS(boot_l2) + 0x2003), PHYS(boot_l3) + 16
        movl    $(PHYS(boot_l2) + 0x3003), PHYS(boot_l3) + 24
        movl    $(PHYS(boot_l3) + 3), PHYS(boot_l4)
        movl    $(PHYS(boot_l3) + 3), PHYS(boot_l4) + 262 * 8
        movl    $(PHYS(boot_image_l3) + 3), PHYS(boot_l4) + 260 * 8
        movl    $(PHYS(boot_image_l2) + 3), PHYS(boot_image_l3)
        movl    $(CERO_IMAGE_PHYS + 0x83), PHYS(boot_image_l2)

        movl    $PHYS(boot_l4), %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $(1 << 5), %eax         /* PAE */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $(1 << 8 | 1 << 11), %eax /* LME, NXE */
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010001, %eax       /* PG, WP, PE */
        movl    %eax, %cr0
        lgdt    boot_gdt_pointer
        ljmp    $8, $boot_long_mode

boot_failed:                            /* esi: text. To COM1, then stop. */
        movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
2:      hlt
        jmp     2b

        .code64
boot_long_mode:
        movl    $16, %eax
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movabsq $boot_stack_top, %rsp
        movl    %ebp, %edi              /* physical address of the boot information */
        xorl    %ebp, %ebp
        movabsq $start_hypervisor, %rax
        call    *%rax
1:      hlt
        jmp     1b

        .balign 8
boot_gdt:
        .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
        .word   23
        .long   boot_gdt
text_loader:
        .asciz  "Cero: not started by a Multiboot2 boot loader\r\n"
text_cpu:
        .asciz  "Cero: this CPU has no 64-bit mode or no NX\r\n"

/* Application processors: real mode at CERO_TRAMPOLINE_PHYS, copied there by smp.cpp. */
        .section .trampoline, "a" // data here: it runs from its copy below 1 MiB
        .code16
trampoline:
#define TRAMPOLINE(label) (label - trampoline + CERO_TRAMPOLINE_PHYS)
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   TRAMPOLINE(ap_gdt_pointer)
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $24, $TRAMPOLINE(ap_protected)
        .code32
ap_protected:
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %ss
        movl    TRAMPOLINE(ap_cr3), %eax
        movl    %eax, %cr3
        movl    $(1 << 5), %eax         /* PAE */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $(1 << 8 | 1 << 11), %eax
        wrmsr
        movl    $0x80010011, %eax
        movl    %eax, %cr0
        ljmp    $8, $TRAMPOLINE(ap_long)
        .code64
ap_long:
        movq    TRAMPOLINE(ap_stack), %rsp
        movq    TRAMPOLINE(ap_area), %rdi
        xorl    %ebp, %ebp
        movabsq $start_secondary_cpu, %rax
        call    *%rax
1:      hlt
        jmp     1b

        .balign 8
ap_gdt:
        .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
ap_gdt_pointer:
        .word   31
        .long   TRAMPOLINE(ap_gdt)
        .balign 8
        .globl  trampoline_parameters
trampoline_parameters:
ap_cr3:   .quad 0
ap_stack: .quad 0
ap_area:  .quad 0

        .section .bss.page_aligned, "aw", @nobits
        .balign 4096
        .globl  boot_l4
boot_l4:  .skip 4096
boot_l3:  .skip 4096
boot_l2:  .skip 4 * 4096
boot_image_l3: .skip 4096
boot_image_l2: .skip 4096
boot_stack: .skip 16384
        .globl  boot_stack_top
boot_stack_top:
        .section .note.GNU-stack, "", @progbits
