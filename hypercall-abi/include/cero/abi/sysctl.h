/* SPDX-License-Identifier: MIT */
/* sysctl: the machine as a whole, control domain only (numbers and layouts of Xen 4.17). */
#ifndef CERO_ABI_SYSCTL_H
#define CERO_ABI_SYSCTL_H

#include <cero/abi/domctl.h>

#define CERO_SYSCTL_INTERFACE_VERSION 0x00000015u

#define CERO_SYSCTL_readconsole 1
#define CERO_SYSCTL_physinfo 3
#define CERO_SYSCTL_sched_id 4
#define CERO_SYSCTL_getdomaininfolist 6
#define CERO_SYSCTL_debug_keys 7
#define CERO_SYSCTL_getcpuinfo 8
#define CERO_SYSCTL_availheap 9
#define CERO_SYSCTL_cputopoinfo 16
#define CERO_SYSCTL_numainfo 17
/* Operations that only Cero has. */
#define CERO_SYSCTL_audit_frames 0x43450001u

struct cero_sysctl_readconsole {
    uint8_t clear;
    uint8_t incremental; /* start at `index` */
    uint8_t pad0, pad1;
    uint32_t index; /* in, out */
    cero_guest_ptr buffer;
    uint32_t count; /* in, out */
    uint32_t pad2;
};
CERO_ABI_SIZE(struct cero_sysctl_readconsole, 24);
#define CERO_SYSCTL_PHYSCAP_hvm (1u << 0)
#define CERO_SYSCTL_PHYSCAP_pv (1u << 1)
struct cero_sysctl_physinfo {
    uint32_t threads_per_core;
    uint32_t cores_per_socket;
    uint32_t nr_cpus;
    uint32_t max_cpu_id;
    uint32_t nr_nodes;
    uint32_t max_node_id;
    uint32_t cpu_khz;
    uint32_t capabilities;
    uint32_t arch_capabilities;
    uint32_t pad;
    uint64_t total_pages;
    uint64_t free_pages;
    uint64_t scrub_pages;
    uint64_t outstanding_pages;
    uint64_t max_mfn;
    uint32_t hw_cap[8];
};
CERO_ABI_SIZE(struct cero_sysctl_physinfo, 112);
struct cero_sysctl_sched_id {
    uint32_t sched_id;
};
struct cero_sysctl_getdomaininfolist {
    cero_domid first_domain;
    uint16_t pad;
    uint32_t max_domains;
    cero_guest_ptr buffer; /* struct cero_domctl_getdomaininfo[] */
    uint32_t num_domains;  /* out */
    uint32_t pad2;
};
CERO_ABI_SIZE(struct cero_sysctl_getdomaininfolist, 24);
struct cero_sysctl_debug_keys {
    cero_guest_ptr keys;
    uint32_t nr_keys;
    uint32_t pad;
};
struct cero_sysctl_cpuinfo {
    uint64_t idletime; /* ns */
};
struct cero_sysctl_getcpuinfo {
    uint32_t max_cpus;
    uint32_t pad;
    cero_guest_ptr info; /* struct cero_sysctl_cpuinfo[] */
    uint32_t nr_cpus;    /* out */
    uint32_t pad2;
};
CERO_ABI_SIZE(struct cero_sysctl_getcpuinfo, 24);
struct cero_sysctl_availheap {
    uint32_t min_bitwidth;
    uint32_t max_bitwidth;
    int32_t node;
    uint32_t pad;
    uint64_t avail_bytes; /* out */
};
CERO_ABI_SIZE(struct cero_sysctl_availheap, 24);
struct cero_sysctl_cputopo {
    uint32_t core;
    uint32_t socket;
    uint32_t node;
};
struct cero_sysctl_cputopoinfo {
    uint32_t num_cpus;
    uint32_t pad;
    cero_guest_ptr cputopo;
};
struct cero_sysctl_numainfo {
    uint32_t num_nodes;
    uint32_t pad;
    cero_guest_ptr meminfo;
    cero_guest_ptr distance;
};
/* Recomputes the counts of all frames with every CPU stopped; the log names those that disagree. */
struct cero_sysctl_audit_frames {
    uint64_t wrong; /* out: frames and accounts that disagree */
};

struct cero_sysctl {
    uint32_t cmd;
    uint32_t interface_version; /* CERO_SYSCTL_INTERFACE_VERSION */
    union {
        struct cero_sysctl_readconsole readconsole;
        struct cero_sysctl_physinfo physinfo;
        struct cero_sysctl_sched_id sched_id;
        struct cero_sysctl_getdomaininfolist getdomaininfolist;
        struct cero_sysctl_debug_keys debug_keys;
        struct cero_sysctl_getcpuinfo getcpuinfo;
        struct cero_sysctl_availheap availheap;
        struct cero_sysctl_cputopoinfo cputopoinfo;
        struct cero_sysctl_numainfo numainfo;
        struct cero_sysctl_audit_frames audit_frames;
        uint8_t room[128];
    } u;
};
CERO_ABI_OFFSET(struct cero_sysctl, u, 8);
CERO_ABI_SIZE(struct cero_sysctl, 136);

#endif
