/* SPDX-License-Identifier: MIT */
/* Traps, callbacks, the iret frame, selectors, and the context of a vCPU. */
#ifndef CERO_ABI_TRAP_H
#define CERO_ABI_TRAP_H

#include <cero/abi/types.h>

/* set_trap_table: array ended by address 0. */
struct cero_trap_info {
    uint8_t vector;
    uint8_t flags; /* bits 1:0 privilege level for INT n; bit 2: mask events on entry */
    uint16_t cs;
    uint32_t pad;
    uint64_t address;
};
CERO_ABI_SIZE(struct cero_trap_info, 16);
CERO_ABI_OFFSET(struct cero_trap_info, cs, 2);
CERO_ABI_OFFSET(struct cero_trap_info, address, 8);
#define CERO_TRAP_DPL_MASK 3u
#define CERO_TRAP_MASK_EVENTS 4u

/* callback_op: rdi = command. */
#define CERO_CALLBACKOP_register 0
#define CERO_CALLBACKOP_unregister 1
#define CERO_CALLBACKTYPE_event 0
#define CERO_CALLBACKTYPE_failsafe 1
#define CERO_CALLBACKTYPE_syscall 2
#define CERO_CALLBACKTYPE_nmi 4
#define CERO_CALLBACKTYPE_sysenter 5
#define CERO_CALLBACKTYPE_syscall32 7
#define CERO_CALLBACKF_mask_events (1u << 0)
struct cero_callback_register {
    uint16_t type;
    uint16_t flags;
    uint32_t pad;
    uint64_t address;
};
CERO_ABI_SIZE(struct cero_callback_register, 16);
struct cero_callback_unregister {
    uint16_t type;
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_callback_unregister, 4);

/* Flat selectors that the hypervisor provides in the reserved part of every GDT. */
#define CERO_FLAT_RING3_CS32 0xe023
#define CERO_FLAT_RING3_CS64 0xe033
#define CERO_FLAT_RING3_DS 0xe02b
#define CERO_FLAT_RING3_SS 0xe02b
#define CERO_FIRST_RESERVED_GDT_PAGE 14
#define CERO_FIRST_RESERVED_GDT_ENTRY 7168
/* Value of CS in the frame of an exception that interrupted the guest kernel (RPL 0). */
#define CERO_FRAME_KERNEL_CS 0xe030

/* iret (hypercall 23): this frame lies at the guest's stack pointer. */
struct cero_iret_frame {
    uint64_t rax;
    uint64_t r11;
    uint64_t rcx;
    uint64_t flags; /* CERO_VGCF_in_syscall: do not restore rcx and r11 */
    uint64_t rip;
    uint64_t cs; /* RPL 3: to guest user mode; else stay in guest kernel mode */
    uint64_t rflags;
    uint64_t rsp;
    uint64_t ss;
};
CERO_ABI_SIZE(struct cero_iret_frame, 72);

#define CERO_VGCF_i387_valid (1u << 0)
#define CERO_VGCF_in_kernel (1u << 2)
#define CERO_VGCF_failsafe_disables_events (1u << 3)
#define CERO_VGCF_syscall_disables_events (1u << 4)
#define CERO_VGCF_online (1u << 5)
#define CERO_VGCF_in_syscall (1u << 8)

/* set_segment_base: rdi = which, rsi = base (or selector for the last). */
#define CERO_SEGBASE_FS 0
#define CERO_SEGBASE_GS_USER 1
#define CERO_SEGBASE_GS_KERNEL 2
#define CERO_SEGBASE_GS_USER_SEL 3

struct cero_cpu_user_regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint32_t error_code;
    uint32_t entry_vector;
    uint64_t rip;
    uint16_t cs, pad0;
    uint8_t saved_upcall_mask;
    uint8_t pad1[3];
    uint64_t rflags;
    uint64_t rsp;
    uint16_t ss, pad2[3];
    uint16_t es, pad3[3];
    uint16_t ds, pad4[3];
    uint16_t fs, pad5[3];
    uint16_t gs, pad6[3];
};
CERO_ABI_SIZE(struct cero_cpu_user_regs, 200);
CERO_ABI_OFFSET(struct cero_cpu_user_regs, rip, 128);
CERO_ABI_OFFSET(struct cero_cpu_user_regs, cs, 136);
CERO_ABI_OFFSET(struct cero_cpu_user_regs, saved_upcall_mask, 140);
CERO_ABI_OFFSET(struct cero_cpu_user_regs, rflags, 144);

/* Context of a vCPU: vcpu_op initialise, domctl set/getvcpucontext. */
struct cero_vcpu_guest_context {
    uint8_t fpu_ctxt[512]; /* fxsave image; valid with CERO_VGCF_i387_valid */
    uint64_t flags;        /* CERO_VGCF_* */
    struct cero_cpu_user_regs user_regs;
    struct cero_trap_info trap_ctxt[256];
    uint64_t ldt_base, ldt_ents;
    uint64_t gdt_frames[16], gdt_ents;
    uint64_t kernel_ss, kernel_sp;
    uint64_t ctrlreg[8]; /* [3]: kernel CR3 (mfn << 12); [1]: user CR3 or 0 */
    uint64_t debugreg[8];
    uint64_t event_callback_eip;
    uint64_t failsafe_callback_eip;
    uint64_t syscall_callback_eip;
    uint64_t vm_assist;
    uint64_t fs_base;
    uint64_t gs_base_kernel;
    uint64_t gs_base_user;
};
CERO_ABI_SIZE(struct cero_vcpu_guest_context, 5168);

#endif
