/* SPDX-License-Identifier: MIT */
/* memory_op: reservations, memory maps, the machine-to-physical table. */
#ifndef CERO_ABI_MEMORY_H
#define CERO_ABI_MEMORY_H

#include <cero/abi/types.h>

#define CERO_MEMOP_CMD_MASK 0x3f
#define CERO_MEMOP_EXTENT_SHIFT 6
#define CERO_XENMEM_increase_reservation 0
#define CERO_XENMEM_decrease_reservation 1
#define CERO_XENMEM_maximum_ram_page 2
#define CERO_XENMEM_current_reservation 3
#define CERO_XENMEM_maximum_reservation 4
#define CERO_XENMEM_machphys_mfn_list 5
#define CERO_XENMEM_populate_physmap 6
#define CERO_XENMEM_add_to_physmap 7
#define CERO_XENMEM_memory_map 9
#define CERO_XENMEM_machine_memory_map 10
#define CERO_XENMEM_exchange 11
#define CERO_XENMEM_machphys_mapping 12
#define CERO_XENMEM_set_memory_map 13
#define CERO_XENMEM_remove_from_physmap 15
#define CERO_XENMEM_add_to_physmap_batch 23
#define CERO_XENMEM_claim_pages 24
#define CERO_XENMEM_get_vnumainfo 26
#define CERO_XENMEM_acquire_resource 28

struct cero_memory_reservation {
    cero_guest_ptr extent_start; /* uint64_t[nr_extents] */
    uint64_t nr_extents;
    uint32_t extent_order;
    uint32_t mem_flags; /* bits 7:0 address bits (0 = any) */
    cero_domid domid;
    uint16_t pad[3];
};
CERO_ABI_SIZE(struct cero_memory_reservation, 32);
CERO_ABI_OFFSET(struct cero_memory_reservation, extent_order, 0x10);
CERO_ABI_OFFSET(struct cero_memory_reservation, domid, 0x18);

struct cero_memory_exchange {
    struct cero_memory_reservation in;
    struct cero_memory_reservation out;
    uint64_t nr_exchanged;
};
CERO_ABI_SIZE(struct cero_memory_exchange, 72);

struct cero_machphys_mfn_list {
    uint32_t max_extents;
    uint32_t pad0;
    cero_guest_ptr extent_start;
    uint32_t nr_extents; /* out */
    uint32_t pad1;
};
CERO_ABI_SIZE(struct cero_machphys_mfn_list, 24);

struct cero_machphys_mapping {
    uint64_t v_start, v_end;
    uint64_t max_mfn;
};
CERO_ABI_SIZE(struct cero_machphys_mapping, 24);

struct cero_memory_map {
    uint32_t nr_entries; /* in: room; out: entries */
    uint32_t pad;
    cero_guest_ptr buffer; /* struct cero_e820_entry[] */
};
CERO_ABI_SIZE(struct cero_memory_map, 16);

struct cero_foreign_memory_map {
    cero_domid domid;
    uint16_t pad[3];
    struct cero_memory_map map;
};
CERO_ABI_SIZE(struct cero_foreign_memory_map, 24);

struct cero_e820_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
} __attribute__((packed));
CERO_ABI_SIZE(struct cero_e820_entry, 20);
#define CERO_E820_RAM 1
#define CERO_E820_RESERVED 2
#define CERO_E820_ACPI 3
#define CERO_E820_NVS 4
#define CERO_E820_UNUSABLE 5

#endif
