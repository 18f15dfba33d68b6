// SPDX-License-Identifier: BSD-2-Clause
// Start-up of the minimal kernel: the ELF notes, the first instructions, and the way into and out of an event.

#define VIRT_BASE 0xffffffff80000000

// Step 1 of docs/porting.md: notes tell the builder how to load and enter the kernel. Owner "Xen", 4-byte aligned.
.macro note type, name_end:vararg
        .align 4
        .long 4, 8802f - 8801f, \type   // length of the owner, length of the description, type
        .asciz "Xen"
8801:   \name_end
8802:   .align 4
.endm

        .section .note.Xen, "a", @note
        note 6, .asciz "minimal"                // GUEST_OS
        note 5, .asciz "xen-3.0"                // XEN_VERSION: the ABI
        note 8, .asciz "generic"                // LOADER
        note 3, .quad VIRT_BASE                 // address at which page 0 of the domain's memory is mapped
        note 4, .quad 0                         // PADDR_OFFSET
        note 1, .quad _start                    // ENTRY
        note 10, .ascii "!writable_page_tables" // FEATURES

// Step 2: the entry. rsi holds the address of start_info; the stack that the builder made is one page.
        .section .text
        .global _start
_start:
        cld
        lea stack_top(%rip), %rsp
        xor %ebp, %ebp
        mov %rsi, %rdi
        call minimal_main
        ud2

// Step 5: events. The hypervisor pushes rcx, r11, rip, cs, rflags, rsp, ss, and masks further events.
        .global event_entry
event_entry:
        push %rax
        push %rdx
        push %rsi
        push %rdi
        push %r8
        push %r9
        push %r10
        push %rbp
        mov %rsp, %rbp
        and $-16, %rsp
        call handle_events
        mov %rbp, %rsp
        pop %rbp
        pop %r10
        pop %r9
        pop %r8
        pop %rdi
        pop %rsi
        pop %rdx
        pop %rax
        pop %rcx
        pop %r11
        // The iret hypercall wants rax, r11, rcx and a word of flags below the five of the hardware's frame. It
        // restores them, and lifts the event mask if the frame's rflags has IF.
        pushq $0
        push %rcx
        push %r11
        push %rax
        mov $23, %eax
        syscall
        ud2

        .section .bss
        .align 16
        .skip 16384
stack_top:
        .section .note.GNU-stack, "", @progbits
