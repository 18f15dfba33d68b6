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
#define VCPU_RFLAGS 152
#define VCPU_RSP 160
#define VCPU_INFO 176
#define VCPU_EXIT_WORK 184
#define VCPU_USER_MODE 188

#endif
