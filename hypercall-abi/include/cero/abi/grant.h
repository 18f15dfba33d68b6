/* SPDX-License-Identifier: MIT */
/* Grant tables, version 1: grant_table_op. */
#ifndef CERO_ABI_GRANT_H
#define CERO_ABI_GRANT_H

#include <cero/abi/types.h>

/* rdi = command, rsi = array, rdx = count. The call returns 0 when the array could be read; each
 * element carries a status (CERO_GNTST_*). */
#define CERO_GNTTABOP_map_grant_ref 0
#define CERO_GNTTABOP_unmap_grant_ref 1
#define CERO_GNTTABOP_setup_table 2
#define CERO_GNTTABOP_dump_table 3
#define CERO_GNTTABOP_transfer 4
#define CERO_GNTTABOP_copy 5
#define CERO_GNTTABOP_query_size 6
#define CERO_GNTTABOP_unmap_and_replace 7
#define CERO_GNTTABOP_set_version 8
#define CERO_GNTTABOP_get_status_frames 9
#define CERO_GNTTABOP_get_version 10
#define CERO_GNTTABOP_swap_grant_ref 11
#define CERO_GNTTABOP_cache_flush 12

struct cero_grant_entry_v1 {
    uint16_t flags; /* CERO_GTF_* */
    cero_domid domid;
    uint32_t frame; /* machine frame, for a PV domain */
};
CERO_ABI_SIZE(struct cero_grant_entry_v1, 8);
#define CERO_GRANT_ENTRIES_PER_PAGE 512u
#define CERO_GTF_invalid 0u
#define CERO_GTF_permit_access 1u
#define CERO_GTF_accept_transfer 2u
#define CERO_GTF_type_mask 3u
#define CERO_GTF_readonly 0x4u
#define CERO_GTF_reading 0x8u
#define CERO_GTF_writing 0x10u
#define CERO_GTF_PWT 0x20u
#define CERO_GTF_PCD 0x40u
#define CERO_GTF_PAT 0x80u
#define CERO_GTF_sub_page 0x100u
#define CERO_GNTTAB_NR_RESERVED_ENTRIES 8u
#define CERO_GNTTAB_RESERVED_CONSOLE 0u
#define CERO_GNTTAB_RESERVED_XENSTORE 1u

#define CERO_GNTMAP_device_map (1u << 0)
#define CERO_GNTMAP_host_map (1u << 1)
#define CERO_GNTMAP_readonly (1u << 2)
#define CERO_GNTMAP_application_map (1u << 3)
#define CERO_GNTMAP_contains_pte (1u << 4)
#define CERO_GNTMAP_guest_avail_shift 16

struct cero_gnttab_map_grant_ref {
    uint64_t host_addr; /* virtual address, or machine address of the PTE */
    uint32_t flags;
    cero_grant_ref ref;
    cero_domid dom;
    int16_t status;        /* out */
    uint32_t handle;       /* out */
    uint64_t dev_bus_addr; /* out */
};
CERO_ABI_SIZE(struct cero_gnttab_map_grant_ref, 32);
struct cero_gnttab_unmap_grant_ref {
    uint64_t host_addr;
    uint64_t dev_bus_addr;
    uint32_t handle;
    int16_t status; /* out */
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_gnttab_unmap_grant_ref, 24);
struct cero_gnttab_setup_table {
    cero_domid dom;
    uint16_t pad0;
    uint32_t nr_frames;
    int16_t status; /* out */
    uint16_t pad1[3];
    cero_guest_ptr frame_list; /* uint64_t[nr_frames], out */
};
CERO_ABI_SIZE(struct cero_gnttab_setup_table, 24);
struct cero_gnttab_copy {
    struct {
        union {
            cero_grant_ref ref;
            cero_frame gmfn;
        } u;
        cero_domid domid;
        uint16_t offset;
        uint32_t pad;
    } source, dest;
    uint16_t len;
    uint16_t flags; /* CERO_GNTCOPY_* */
    int16_t status; /* out */
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_gnttab_copy, 40);
CERO_ABI_OFFSET(struct cero_gnttab_copy, dest, 0x10);
CERO_ABI_OFFSET(struct cero_gnttab_copy, len, 0x20);
#define CERO_GNTCOPY_source_gref (1u << 0)
#define CERO_GNTCOPY_dest_gref (1u << 1)
struct cero_gnttab_query_size {
    cero_domid dom;
    uint16_t pad0;
    uint32_t nr_frames;     /* out */
    uint32_t max_nr_frames; /* out */
    int16_t status;         /* out */
    uint16_t pad1;
};
CERO_ABI_SIZE(struct cero_gnttab_query_size, 16);
struct cero_gnttab_unmap_and_replace {
    uint64_t host_addr;
    uint64_t new_addr;
    uint32_t handle;
    int16_t status; /* out */
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_gnttab_unmap_and_replace, 24);
struct cero_gnttab_set_version {
    uint32_t version; /* in, out */
};
struct cero_gnttab_get_version {
    cero_domid dom;
    uint16_t pad;
    uint32_t version; /* out */
};

#define CERO_GNTST_okay 0
#define CERO_GNTST_general_error (-1)
#define CERO_GNTST_bad_domain (-2)
#define CERO_GNTST_bad_gntref (-3)
#define CERO_GNTST_bad_handle (-4)
#define CERO_GNTST_bad_virt_addr (-5)
#define CERO_GNTST_bad_dev_addr (-6)
#define CERO_GNTST_no_device_space (-7)
#define CERO_GNTST_permission_denied (-8)
#define CERO_GNTST_bad_page (-9)
#define CERO_GNTST_bad_copy_arg (-10)
#define CERO_GNTST_address_too_big (-11)
#define CERO_GNTST_eagain (-12)
#define CERO_GNTST_no_space (-13)

#endif
