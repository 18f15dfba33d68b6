/* SPDX-License-Identifier: MIT */
/* Start of day: start_info, ELF note types, flags. */
#ifndef CERO_ABI_START_INFO_H
#define CERO_ABI_START_INFO_H

#include <cero/abi/types.h>

#define CERO_START_INFO_MAGIC "xen-3.0-x86_64"
#define CERO_MAX_GUEST_CMDLINE 1024

#define CERO_SIF_PRIVILEGED (1u << 0)
#define CERO_SIF_INITDOMAIN (1u << 1)
#define CERO_SIF_MULTIBOOT_MOD (1u << 2)
#define CERO_SIF_MOD_START_PFN (1u << 3) /* mod_start is a PFN, not a virtual address */
#define CERO_SIF_VIRT_P2M_4TOOLS (1u << 4)
#define CERO_SIF_PM_MASK 0xff00u

struct cero_start_info {
    char magic[32];
    uint64_t nr_pages;    /* PFNs given to the domain */
    uint64_t shared_info; /* machine address of shared_info */
    uint32_t flags;       /* CERO_SIF_* */
    uint32_t pad0;
    cero_frame store_mfn; /* machine frame of the XenStore ring page */
    cero_evtchn_port store_evtchn;
    uint32_t pad1;
    union {
        struct {
            cero_frame mfn; /* machine frame of the console page */
            cero_evtchn_port evtchn;
            uint32_t pad;
        } domU;
        struct {
            uint32_t info_off; /* offset of the VGA console information in this page */
            uint32_t info_size;
            uint64_t pad;
        } dom0;
    } console;
    uint64_t pt_base;      /* virtual address of the initial level-4 table */
    uint64_t nr_pt_frames; /* frames of the initial page tables, contiguous from pt_base */
    uint64_t mfn_list;     /* virtual address of the p2m list */
    uint64_t mod_start;    /* virtual address or PFN of the initial ramdisk; 0 = none */
    uint64_t mod_len;      /* bytes */
    char cmd_line[CERO_MAX_GUEST_CMDLINE];
    uint64_t first_p2m_pfn; /* only when the p2m is mapped outside the initial mapping */
    uint64_t nr_p2m_frames;
};
CERO_ABI_SIZE(struct cero_start_info, 1168);
CERO_ABI_OFFSET(struct cero_start_info, nr_pages, 0x20);
CERO_ABI_OFFSET(struct cero_start_info, shared_info, 0x28);
CERO_ABI_OFFSET(struct cero_start_info, flags, 0x30);
CERO_ABI_OFFSET(struct cero_start_info, store_mfn, 0x38);
CERO_ABI_OFFSET(struct cero_start_info, store_evtchn, 0x40);
CERO_ABI_OFFSET(struct cero_start_info, console, 0x48);
CERO_ABI_OFFSET(struct cero_start_info, pt_base, 0x58);
CERO_ABI_OFFSET(struct cero_start_info, nr_pt_frames, 0x60);
CERO_ABI_OFFSET(struct cero_start_info, mfn_list, 0x68);
CERO_ABI_OFFSET(struct cero_start_info, mod_start, 0x70);
CERO_ABI_OFFSET(struct cero_start_info, mod_len, 0x78);
CERO_ABI_OFFSET(struct cero_start_info, cmd_line, 0x80);
CERO_ABI_OFFSET(struct cero_start_info, first_p2m_pfn, 0x480);
CERO_ABI_OFFSET(struct cero_start_info, nr_p2m_frames, 0x488);

/* ELF notes (owner name "Xen"). */
#define CERO_ELFNOTE_INFO 0
#define CERO_ELFNOTE_ENTRY 1
#define CERO_ELFNOTE_HYPERCALL_PAGE 2
#define CERO_ELFNOTE_VIRT_BASE 3
#define CERO_ELFNOTE_PADDR_OFFSET 4
#define CERO_ELFNOTE_XEN_VERSION 5 /* "xen-3.0" */
#define CERO_ELFNOTE_GUEST_OS 6
#define CERO_ELFNOTE_GUEST_VERSION 7
#define CERO_ELFNOTE_LOADER 8
#define CERO_ELFNOTE_PAE_MODE 9
#define CERO_ELFNOTE_FEATURES 10
#define CERO_ELFNOTE_BSD_SYMTAB 11
#define CERO_ELFNOTE_HV_START_LOW 12
#define CERO_ELFNOTE_L1_MFN_VALID 13
#define CERO_ELFNOTE_SUSPEND_CANCEL 14
#define CERO_ELFNOTE_INIT_P2M 15
#define CERO_ELFNOTE_MOD_START_PFN 16
#define CERO_ELFNOTE_SUPPORTED_FEATURES 17
#define CERO_ELFNOTE_PHYS32_ENTRY 18

#endif
