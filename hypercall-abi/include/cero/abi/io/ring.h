/* SPDX-License-Identifier: MIT */
/* The shared ring that block and network front and back ends use: header, index rules. */
#ifndef CERO_ABI_IO_RING_H
#define CERO_ABI_IO_RING_H

#include <cero/abi/types.h>

/* Indexes run freely modulo 2^32; the entry of index i is i & (entries - 1). Entries begin at
 * byte 64. A producer notifies iff (new - *_event) < (new - old), computed as uint32_t. A consumer
 * that is about to sleep sets *_event = consumed + 1, then looks once more. */
struct cero_ring_header {
    uint32_t req_prod;
    uint32_t req_event;
    uint32_t rsp_prod;
    uint32_t rsp_event;
    uint8_t private_area[48];
};
CERO_ABI_SIZE(struct cero_ring_header, 64);
#define CERO_RING_ENTRIES_OFFSET 64u

#endif
