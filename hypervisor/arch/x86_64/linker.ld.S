/* SPDX-License-Identifier: BSD-2-Clause */
/* Linker script of the hypervisor: loaded at 2 MiB, linked in level-4 slot 260, one segment per right. */
#include <arch/x86_64/layout.h>

OUTPUT_FORMAT(elf64-x86-64)
ENTRY(multiboot_entry)
PHDRS
{
    boot PT_LOAD FLAGS(5);
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}
SECTIONS
{
    . = CERO_IMAGE_PHYS;
    .boot : { KEEP(*(.multiboot)) *(.boot.text) } :boot

    . = CERO_IMAGE_VIRT + 0x1000;
    ASSERT(SIZEOF(.boot) <= 0x1000, "boot section larger than a page")
    image_text_start = .;
    .text : AT(ADDR(.text) - CERO_IMAGE_OFFSET) { *(.text.entry) *(.text .text.* .iplt) } :text
    . = ALIGN(4096);
    image_rodata_start = .;
    .rodata : AT(ADDR(.rodata) - CERO_IMAGE_OFFSET) {
        *(.rodata .rodata.* .data.rel.ro .data.rel.ro.* .got .got.plt .igot.plt)
        . = ALIGN(8);
        constructors_start = .;
        KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*) .init_array))
        constructors_end = .;
        extable_start = .;
        KEEP(*(.extable))
        extable_end = .;
        patch_sites_start = .;
        KEEP(*(.patch_sites))
        patch_sites_end = .;
        trampoline_start = .;
        KEEP(*(.trampoline))
        trampoline_end = .;
        . = ALIGN(16);
        KEEP(*(.symbols))
        *(.rela.*)
    } :rodata
    . = ALIGN(4096);
    image_data_start = .;
    .data : AT(ADDR(.data) - CERO_IMAGE_OFFSET) { *(.data .data.*) } :data
    .bss : AT(ADDR(.bss) - CERO_IMAGE_OFFSET) {
        *(.bss.page_aligned)
        *(.bss .bss.*)
        . = ALIGN(4096);
    } :data
    image_end = .;
    ASSERT(image_end - CERO_IMAGE_VIRT <= 0x200000, "image larger than its level-1 table")

    /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.init_array*) }
    ASSERT(!DEFINED(__cxa_atexit), "global destructor")
}
