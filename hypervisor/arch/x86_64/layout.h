/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses that the linker script, the assembler and C++ agree on. */
#ifndef CERO_ARCH_LAYOUT_H
#define CERO_ARCH_LAYOUT_H

#define CERO_IMAGE_PHYS 0x200000
#define CERO_IMAGE_VIRT 0xffff820000000000 /* level-4 slot 260 */
#define CERO_IMAGE_OFFSET (CERO_IMAGE_VIRT - CERO_IMAGE_PHYS)
#define CERO_PERCPU_VIRT 0xffff818000000000 /* level-4 slot 259 */
#define CERO_MMIO_VIRT 0xffff828000000000   /* level-4 slot 261 */
#define CERO_DIRECT_MAP_VIRT 0xffff830000000000

/* One CPU's part of slot 259, in pages from its start; unnamed pages are guards, never mapped. */
#define CERO_CPU_AREA_SHIFT 20
#define CERO_CPU_PAGE_AREA 0  /* PerCpu, TSS, IST bookkeeping */
#define CERO_CPU_PAGE_STACK 2 /* 4 pages */
#define CERO_CPU_STACK_PAGES 4
#define CERO_CPU_PAGE_NMI 7
#define CERO_CPU_PAGE_MCE 9
#define CERO_CPU_PAGE_DF 11
#define CERO_CPU_PAGE_GDT 16 /* 14 guest pages, the hypervisor's page, one guard */
#define CERO_CPU_PAGE_LDT 32 /* 16 pages */

/* Selectors of the hypervisor's page of every GDT (entry 7168 on). */
#define CERO_SEL_HV_CS 0xe008
#define CERO_SEL_HV_SS 0xe010
#define CERO_SEL_RING3_CS32 0xe023
#define CERO_SEL_RING3_SS 0xe02b
#define CERO_SEL_RING3_CS64 0xe033
#define CERO_SEL_TSS 0xe040
#define CERO_SEL_LDT 0xe050

#define CERO_TRAMPOLINE_PHYS 0x8000 /* where application processors start: one page below 1 MiB */

#endif
