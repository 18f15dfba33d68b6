/* SPDX-License-Identifier: MIT */
/* shared_info, vcpu_info, time and runstate: memory that hypervisor and guest share. */
#ifndef CERO_ABI_SHARED_INFO_H
#define CERO_ABI_SHARED_INFO_H

#include <cero/abi/types.h>

/* Time of a vCPU. `version` is odd while the hypervisor writes; readers retry when it was odd or
 * changed. ns = system_time + (((tsc - tsc_timestamp) << tsc_shift) * tsc_to_system_mul >> 32); a
 * negative shift shifts right. */
struct cero_vcpu_time_info {
    uint32_t version;
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags; /* CERO_PVCLOCK_* */
    uint8_t pad1[2];
};
CERO_ABI_SIZE(struct cero_vcpu_time_info, 32);
CERO_ABI_OFFSET(struct cero_vcpu_time_info, tsc_to_system_mul, 0x18);
CERO_ABI_OFFSET(struct cero_vcpu_time_info, tsc_shift, 0x1c);
CERO_ABI_OFFSET(struct cero_vcpu_time_info, flags, 0x1d);
#define CERO_PVCLOCK_TSC_STABLE (1u << 0)
#define CERO_PVCLOCK_GUEST_STOPPED (1u << 1)

struct cero_arch_vcpu_info {
    uint64_t cr2; /* address of the last page fault delivered */
    uint64_t pad;
};

struct cero_vcpu_info {
    uint8_t evtchn_upcall_pending;
    uint8_t evtchn_upcall_mask; /* the virtual interrupt flag: non-zero holds events back */
    uint8_t pad0[6];
    uint64_t evtchn_pending_sel;
    struct cero_arch_vcpu_info arch;
    struct cero_vcpu_time_info time;
};
CERO_ABI_SIZE(struct cero_vcpu_info, 64);
CERO_ABI_OFFSET(struct cero_vcpu_info, evtchn_upcall_mask, 1);
CERO_ABI_OFFSET(struct cero_vcpu_info, evtchn_pending_sel, 8);
CERO_ABI_OFFSET(struct cero_vcpu_info, arch, 0x10);
CERO_ABI_OFFSET(struct cero_vcpu_info, time, 0x20);

struct cero_arch_shared_info {
    uint64_t max_pfn;
    cero_frame pfn_to_mfn_frame_list_list;
    uint64_t nmi_reason;
    uint64_t p2m_cr3;
    uint64_t p2m_vaddr;
    uint64_t p2m_generation;
};

struct cero_shared_info {
    struct cero_vcpu_info vcpu_info[CERO_LEGACY_MAX_VCPUS];
    uint64_t evtchn_pending[64];
    uint64_t evtchn_mask[64];
    uint32_t wc_version;
    uint32_t wc_sec;
    uint32_t wc_nsec;
    uint32_t wc_sec_hi;
    struct cero_arch_shared_info arch;
};
CERO_ABI_SIZE(struct cero_shared_info, 3136);
CERO_ABI_OFFSET(struct cero_shared_info, evtchn_pending, 0x800);
CERO_ABI_OFFSET(struct cero_shared_info, evtchn_mask, 0xa00);
CERO_ABI_OFFSET(struct cero_shared_info, wc_version, 0xc00);
CERO_ABI_OFFSET(struct cero_shared_info, wc_sec, 0xc04);
CERO_ABI_OFFSET(struct cero_shared_info, wc_nsec, 0xc08);
CERO_ABI_OFFSET(struct cero_shared_info, wc_sec_hi, 0xc0c);
CERO_ABI_OFFSET(struct cero_shared_info, arch, 0xc10);

#define CERO_EVTCHN_2L_PORTS 4096u

#endif
