/* SPDX-License-Identifier: BSD-2-Clause */
/* Offsets that assembly uses; cpu/cpu_area.cpp asserts each against the structure. */
#ifndef CERO_ARCH_ASM_OFFSETS_H
#define CERO_ARCH_ASM_OFFSETS_H

/* PerCpu */
#define PERCPU_CURRENT 8
#define PERCPU_REGS_END 16
#define PERCPU_STACK_TOP 24
#define PERCPU_SCRATCH 32
#define PERCPU_SOFTIRQS 40

/* ArchVcpu */
#define VCPU_R15 8
#define VCPU_R11 56
#define VCPU_REGS_BELOW_RBX VCPU_R11
#define VCPU_R10 64
#define VCPU_R9 72
#define VCPU_R8 80
#define VCPU_RAX 88
#define VCPU_RCX 96
#define VCPU_RDX 104
#define VCPU_RSI 112
#define VCPU_RDI 120
#define VCPU_ERROR 128
#define VCPU_RIP 136
#define VCPU_CS 144
#define VCPU_RFLAGS 152
#define VCPU_RSP 160
#define VCPU_SS 168
#define VCPU_REGS_END 176
#define VCPU_INFO 176
#define VCPU_EXIT_WORK 184
#define VCPU_USER_MODE 188
#define VCPU_NMI_MASKED 189
#define VCPU_KERNEL_CR3 192
#define VCPU_USER_CR3 200
#define VCPU_KERNEL_SP 208
#define VCPU_SYSCALL 256 /* its address */
#define VCPU_SYSCALL_MASKS 264
#define VCPU_GS_BASE_INACTIVE 2384
#define VCPU_CR4 2712

/* Of the ABI: VGCF_in_syscall; and what the hypervisor's range of addresses has in common from bit 43 on. */
#define IRET_IN_SYSCALL 0x100
#define HYPERVISOR_HOLE_SHIFT 43
#define HYPERVISOR_HOLE (0xffff800000000000 >> HYPERVISOR_HOLE_SHIFT)
#define HYPERCALL_IRET 23
#define CR4_FSGSBASE (1 << 16)
#define RFLAGS_IF 0x200
#define RFLAGS_ALWAYS (RFLAGS_IF | 2)     /* of a guest that runs */
#define RFLAGS_NEVER 0x23000              /* IOPL and VM */
#define RFLAGS_CLEARED_BY_SYSCALL 0x74500 /* AC, VM, RF, NT, DF, TF */

#endif
