/* SPDX-License-Identifier: MIT */
/* Page tables: mmu_update, update_va_mapping, mmuext_op. */
#ifndef CERO_ABI_MMU_H
#define CERO_ABI_MMU_H

#include <cero/abi/types.h>

/* mmu_update: array in rdi, count in rsi, pointer to uint32_t "done" in rdx (may be 0), domain in
 * r10. ptr[1:0] is the command, the rest a machine address. */
struct cero_mmu_update {
    uint64_t ptr;
    uint64_t val;
};
CERO_ABI_SIZE(struct cero_mmu_update, 16);
#define CERO_MMU_NORMAL_PT_UPDATE 0
#define CERO_MMU_MACHPHYS_UPDATE 1
#define CERO_MMU_PT_UPDATE_PRESERVE_AD 2
#define CERO_MMU_PT_UPDATE_NO_TRANSLATE 3

/* update_va_mapping flags: bits 1:0 the operation, the rest 0 (this CPU), 4 (all CPUs of the
 * domain), or a pointer to a uint64_t bitmap of vCPUs. */
#define CERO_UVMF_NONE 0ull
#define CERO_UVMF_TLB_FLUSH 1ull
#define CERO_UVMF_INVLPG 2ull
#define CERO_UVMF_FLUSHTYPE_MASK 3ull
#define CERO_UVMF_MULTI 0ull
#define CERO_UVMF_LOCAL 0ull
#define CERO_UVMF_ALL 4ull

/* mmuext_op: array in rdi, count in rsi, pointer to uint32_t "done" in rdx, domain in r10. */
struct cero_mmuext_op {
    uint32_t cmd;
    uint32_t pad;
    union {
        cero_frame mfn;
        uint64_t linear_addr;
    } arg1;
    union {
        uint32_t nr_ents;
        cero_guest_ptr vcpumask;
        cero_frame src_mfn;
    } arg2;
};
CERO_ABI_SIZE(struct cero_mmuext_op, 24);
CERO_ABI_OFFSET(struct cero_mmuext_op, arg1, 8);
CERO_ABI_OFFSET(struct cero_mmuext_op, arg2, 16);
#define CERO_MMUEXT_PIN_L1_TABLE 0
#define CERO_MMUEXT_PIN_L2_TABLE 1
#define CERO_MMUEXT_PIN_L3_TABLE 2
#define CERO_MMUEXT_PIN_L4_TABLE 3
#define CERO_MMUEXT_UNPIN_TABLE 4
#define CERO_MMUEXT_NEW_BASEPTR 5
#define CERO_MMUEXT_TLB_FLUSH_LOCAL 6
#define CERO_MMUEXT_INVLPG_LOCAL 7
#define CERO_MMUEXT_TLB_FLUSH_MULTI 8
#define CERO_MMUEXT_INVLPG_MULTI 9
#define CERO_MMUEXT_TLB_FLUSH_ALL 10
#define CERO_MMUEXT_INVLPG_ALL 11
#define CERO_MMUEXT_FLUSH_CACHE 12
#define CERO_MMUEXT_SET_LDT 13
#define CERO_MMUEXT_NEW_USER_BASEPTR 15
#define CERO_MMUEXT_CLEAR_PAGE 16
#define CERO_MMUEXT_COPY_PAGE 17
#define CERO_MMUEXT_FLUSH_CACHE_GLOBAL 18
#define CERO_MMUEXT_MARK_SUPER 19
#define CERO_MMUEXT_UNMARK_SUPER 20

#endif
