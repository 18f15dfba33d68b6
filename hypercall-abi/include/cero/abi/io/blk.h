/* SPDX-License-Identifier: MIT */
/* Block protocol, 64-bit layout ("x86_64-abi"). Sectors are 512 bytes, always. */
#ifndef CERO_ABI_IO_BLK_H
#define CERO_ABI_IO_BLK_H

#include <cero/abi/io/ring.h>

#define CERO_BLKIF_OP_READ 0
#define CERO_BLKIF_OP_WRITE 1
#define CERO_BLKIF_OP_WRITE_BARRIER 2
#define CERO_BLKIF_OP_FLUSH_DISKCACHE 3
#define CERO_BLKIF_OP_DISCARD 5
#define CERO_BLKIF_OP_INDIRECT 6
#define CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST 11
#define CERO_BLKIF_MAX_INDIRECT_PAGES 8
#define CERO_BLKIF_SEGMENTS_PER_INDIRECT_PAGE 512
#define CERO_BLKIF_DISCARD_SECURE 1u

#define CERO_BLKIF_RSP_OKAY 0
#define CERO_BLKIF_RSP_ERROR (-1)
#define CERO_BLKIF_RSP_EOPNOTSUPP (-2)

#define CERO_VDISK_CDROM 1u
#define CERO_VDISK_REMOVABLE 2u
#define CERO_VDISK_READONLY 4u

struct cero_blkif_segment {
    cero_grant_ref gref;
    uint8_t first_sect, last_sect; /* inclusive, 0 to 7 */
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_blkif_segment, 8);
struct cero_blkif_request {
    uint8_t operation;
    uint8_t nr_segments;
    uint16_t handle;
    uint32_t pad;
    uint64_t id;
    uint64_t sector_number;
    struct cero_blkif_segment seg[CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST];
};
CERO_ABI_SIZE(struct cero_blkif_request, 112);
CERO_ABI_OFFSET(struct cero_blkif_request, id, 8);
CERO_ABI_OFFSET(struct cero_blkif_request, seg, 0x18);
struct cero_blkif_request_discard {
    uint8_t operation;
    uint8_t flag;
    uint16_t handle;
    uint32_t pad;
    uint64_t id;
    uint64_t sector_number;
    uint64_t nr_sectors;
};
CERO_ABI_OFFSET(struct cero_blkif_request_discard, nr_sectors, 0x18);
struct cero_blkif_request_indirect {
    uint8_t operation;
    uint8_t indirect_op;
    uint16_t nr_segments;
    uint32_t pad0;
    uint64_t id;
    uint64_t sector_number;
    uint16_t handle;
    uint16_t pad1;
    cero_grant_ref indirect_grefs[CERO_BLKIF_MAX_INDIRECT_PAGES];
    uint32_t pad2;
};
CERO_ABI_SIZE(struct cero_blkif_request_indirect, 64);
CERO_ABI_OFFSET(struct cero_blkif_request_indirect, handle, 0x18);
CERO_ABI_OFFSET(struct cero_blkif_request_indirect, indirect_grefs, 0x1c);
struct cero_blkif_response {
    uint64_t id;
    uint8_t operation;
    uint8_t pad0;
    int16_t status;
    uint32_t pad1;
};
CERO_ABI_SIZE(struct cero_blkif_response, 16);
CERO_ABI_OFFSET(struct cero_blkif_response, status, 0xa);
union cero_blkif_entry {
    struct cero_blkif_request request;
    struct cero_blkif_request_discard discard;
    struct cero_blkif_request_indirect indirect;
    struct cero_blkif_response response;
};
CERO_ABI_SIZE(union cero_blkif_entry, 112);
#define CERO_BLKIF_RING_ENTRIES_1PAGE 32u

#endif
