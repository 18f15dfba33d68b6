/* SPDX-License-Identifier: MIT */
/* domctl: building and controlling domains, control domain only (numbers and layouts of Xen 4.17).
 */
#ifndef CERO_ABI_DOMCTL_H
#define CERO_ABI_DOMCTL_H

#include <cero/abi/types.h>

#define CERO_DOMCTL_INTERFACE_VERSION 0x00000015u

#define CERO_DOMCTL_createdomain 1
#define CERO_DOMCTL_destroydomain 2
#define CERO_DOMCTL_pausedomain 3
#define CERO_DOMCTL_unpausedomain 4
#define CERO_DOMCTL_getdomaininfo 5
#define CERO_DOMCTL_setvcpuaffinity 9
#define CERO_DOMCTL_shadow_op 10
#define CERO_DOMCTL_max_mem 11
#define CERO_DOMCTL_setvcpucontext 12
#define CERO_DOMCTL_getvcpucontext 13
#define CERO_DOMCTL_getvcpuinfo 14
#define CERO_DOMCTL_max_vcpus 15
#define CERO_DOMCTL_scheduler_op 16
#define CERO_DOMCTL_setdomainhandle 17
#define CERO_DOMCTL_setdebugging 18
#define CERO_DOMCTL_irq_permission 19
#define CERO_DOMCTL_iomem_permission 20
#define CERO_DOMCTL_ioport_permission 21
#define CERO_DOMCTL_hypercall_init 22
#define CERO_DOMCTL_settimeoffset 24
#define CERO_DOMCTL_getvcpuaffinity 25
#define CERO_DOMCTL_resumedomain 27
#define CERO_DOMCTL_set_address_size 35
#define CERO_DOMCTL_get_address_size 36
#define CERO_DOMCTL_getpageframeinfo3 61
#define CERO_DOMCTL_gettscinfo 59
#define CERO_DOMCTL_settscinfo 60
#define CERO_DOMCTL_set_virq_handler 66
#define CERO_DOMCTL_set_cpu_policy 83

#define CERO_DOMCTL_CDF_hvm (1u << 0)
#define CERO_DOMCTL_CDF_hap (1u << 1)
#define CERO_DOMCTL_CDF_xs_domain (1u << 4)
#define CERO_DOMCTL_CDF_iommu (1u << 5)

struct cero_arch_domainconfig {
    uint32_t emulation_flags; /* 0 for PV */
    uint32_t misc_flags;
};
struct cero_domctl_createdomain {
    uint32_t ssidref;
    uint8_t handle[16];
    uint32_t flags; /* CERO_DOMCTL_CDF_* */
    uint32_t iommu_opts;
    uint32_t max_vcpus;
    uint32_t max_evtchn_port;
    int32_t max_grant_frames;    /* below 0: default */
    int32_t max_maptrack_frames; /* below 0: default */
    uint32_t grant_opts;         /* low 4 bits: grant version */
    uint32_t vmtrace_size;
    uint32_t cpupool_id;
    struct cero_arch_domainconfig arch;
};
CERO_ABI_SIZE(struct cero_domctl_createdomain, 64);

#define CERO_DOMINF_dying (1u << 0)
#define CERO_DOMINF_hvm_guest (1u << 1)
#define CERO_DOMINF_shutdown (1u << 2)
#define CERO_DOMINF_paused (1u << 3)
#define CERO_DOMINF_blocked (1u << 4)
#define CERO_DOMINF_running (1u << 5)
#define CERO_DOMINF_debugged (1u << 6)
#define CERO_DOMINF_xs_domain (1u << 7)
#define CERO_DOMINF_shutdownmask 255u
#define CERO_DOMINF_shutdownshift 16
struct cero_domctl_getdomaininfo {
    cero_domid domain;
    uint16_t pad1;
    uint32_t flags; /* CERO_DOMINF_*; bits 23:16 the shutdown reason */
    uint64_t tot_pages;
    uint64_t max_pages;
    uint64_t outstanding_pages;
    uint64_t shr_pages;
    uint64_t paged_pages;
    uint64_t shared_info_frame;
    uint64_t cpu_time; /* ns */
    uint32_t nr_online_vcpus;
    uint32_t max_vcpu_id;
    uint32_t ssidref;
    uint8_t handle[16];
    uint32_t cpupool;
    uint8_t gpaddr_bits;
    uint8_t pad2[7];
    struct cero_arch_domainconfig arch_config;
};
CERO_ABI_OFFSET(struct cero_domctl_getdomaininfo, tot_pages, 8);
CERO_ABI_OFFSET(struct cero_domctl_getdomaininfo, nr_online_vcpus, 64);
CERO_ABI_OFFSET(struct cero_domctl_getdomaininfo, handle, 76);

struct cero_domctl_max_mem {
    uint64_t max_memkb;
};
struct cero_domctl_vcpucontext {
    uint32_t vcpu;
    uint32_t pad;
    cero_guest_ptr ctxt; /* struct cero_vcpu_guest_context */
};
struct cero_domctl_getvcpuinfo {
    uint32_t vcpu;
    uint8_t online, blocked, running, pad;
    uint64_t cpu_time; /* ns */
    uint32_t cpu;
    uint32_t pad2;
};
CERO_ABI_SIZE(struct cero_domctl_getvcpuinfo, 24);
struct cero_bitmap {
    cero_guest_ptr bitmap; /* bytes */
    uint32_t nr_bits;
    uint32_t pad;
};
CERO_ABI_SIZE(struct cero_bitmap, 16);
#define CERO_VCPUAFFINITY_HARD (1u << 0)
#define CERO_VCPUAFFINITY_SOFT (1u << 1)
#define CERO_VCPUAFFINITY_FORCE (1u << 2)
struct cero_domctl_vcpuaffinity {
    uint32_t vcpu;
    uint32_t flags; /* CERO_VCPUAFFINITY_* */
    struct cero_bitmap cpumap_hard;
    struct cero_bitmap cpumap_soft;
};
CERO_ABI_SIZE(struct cero_domctl_vcpuaffinity, 40);
struct cero_domctl_max_vcpus {
    uint32_t max;
};
#define CERO_SCHEDULER_CREDIT 5
#define CERO_SCHEDULER_CREDIT2 6
#define CERO_DOMCTL_SCHEDOP_putinfo 0
#define CERO_DOMCTL_SCHEDOP_getinfo 1
struct cero_domctl_sched_credit2 {
    uint16_t weight;
    uint16_t cap; /* per cent of one CPU; 0 = none */
};
struct cero_domctl_scheduler_op {
    uint32_t sched_id; /* CERO_SCHEDULER_CREDIT2 */
    uint32_t cmd;
    union {
        struct cero_domctl_sched_credit2 credit2;
        uint64_t room[2];
    } u;
};
CERO_ABI_SIZE(struct cero_domctl_scheduler_op, 24);
struct cero_domctl_setdomainhandle {
    uint8_t handle[16];
};
struct cero_domctl_irq_permission {
    uint32_t pirq;
    uint8_t allow_access;
    uint8_t pad[3];
};
struct cero_domctl_iomem_permission {
    uint64_t first_mfn;
    uint64_t nr_mfns;
    uint8_t allow_access;
    uint8_t pad[7];
};
struct cero_domctl_ioport_permission {
    uint32_t first_port;
    uint32_t nr_ports;
    uint8_t allow_access;
    uint8_t pad[3];
};
struct cero_domctl_hypercall_init {
    uint64_t gmfn;
};
struct cero_domctl_settimeoffset {
    int64_t time_offset_seconds;
};
struct cero_domctl_address_size {
    uint32_t size; /* bits */
};
/* Page types in getpageframeinfo3: in frame numbers, out type << 28. */
#define CERO_DOMCTL_PFINFO_LTAB_SHIFT 28
#define CERO_DOMCTL_PFINFO_NOTAB (0x0u << 28)
#define CERO_DOMCTL_PFINFO_L1TAB (0x1u << 28)
#define CERO_DOMCTL_PFINFO_LPINTAB (0x8u << 28)
#define CERO_DOMCTL_PFINFO_XTAB (0xfu << 28)
struct cero_domctl_getpageframeinfo3 {
    uint64_t num;
    cero_guest_ptr array; /* uint64_t[num], in and out */
};
struct cero_domctl_set_virq_handler {
    uint32_t virq;
};

struct cero_domctl {
    uint32_t cmd;
    uint32_t interface_version; /* CERO_DOMCTL_INTERFACE_VERSION */
    cero_domid domain;
    uint16_t pad[3];
    union {
        struct cero_domctl_createdomain createdomain;
        struct cero_domctl_getdomaininfo getdomaininfo;
        struct cero_domctl_max_mem max_mem;
        struct cero_domctl_vcpucontext vcpucontext;
        struct cero_domctl_getvcpuinfo getvcpuinfo;
        struct cero_domctl_vcpuaffinity vcpuaffinity;
        struct cero_domctl_max_vcpus max_vcpus;
        struct cero_domctl_scheduler_op scheduler_op;
        struct cero_domctl_setdomainhandle setdomainhandle;
        struct cero_domctl_irq_permission irq_permission;
        struct cero_domctl_iomem_permission iomem_permission;
        struct cero_domctl_ioport_permission ioport_permission;
        struct cero_domctl_hypercall_init hypercall_init;
        struct cero_domctl_settimeoffset settimeoffset;
        struct cero_domctl_address_size address_size;
        struct cero_domctl_getpageframeinfo3 getpageframeinfo3;
        struct cero_domctl_set_virq_handler set_virq_handler;
        uint8_t room[128];
    } u;
};
CERO_ABI_OFFSET(struct cero_domctl, domain, 8);
CERO_ABI_OFFSET(struct cero_domctl, u, 16);
CERO_ABI_SIZE(struct cero_domctl, 144);

#endif
