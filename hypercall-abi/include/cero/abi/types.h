/* SPDX-License-Identifier: MIT */
/* Basic types of the ABI: fixed-width integers, guest pointers, layout checks. */
#ifndef CERO_ABI_TYPES_H
#define CERO_ABI_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CERO_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define CERO_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Asserts the size of a structure, and the offset of a field: both are part of the ABI. */
#define CERO_ABI_SIZE(type, size) CERO_STATIC_ASSERT(sizeof(type) == (size), #type " size")
#define CERO_ABI_OFFSET(type, field, offset)                                                       \
    CERO_STATIC_ASSERT(offsetof(type, field) == (offset), #type "." #field " offset")

/* A guest virtual address inside a structure; 8 bytes, resolved in the caller's address space. */
typedef uint64_t cero_guest_ptr;
typedef uint16_t cero_domid;
typedef uint32_t cero_evtchn_port;
typedef uint32_t cero_grant_ref;
typedef uint64_t cero_frame; /* a machine frame number, or a pseudo-physical one where said */

#define CERO_PAGE_SHIFT 12
#define CERO_PAGE_SIZE 4096ull

/* Reserved domain ids; ids of domains are below CERO_DOMID_FIRST_RESERVED. */
#define CERO_DOMID_FIRST_RESERVED 0x7ff0u
#define CERO_DOMID_SELF 0x7ff0u /* the caller */
#define CERO_DOMID_IO 0x7ff1u   /* owner of memory-mapped I/O frames */
#define CERO_DOMID_XEN 0x7ff2u  /* owner of hypervisor frames that may be mapped read-only */
#define CERO_DOMID_COW 0x7ff3u  /* not used by Cero */
#define CERO_DOMID_INVALID 0x7ff4u
#define CERO_DOMID_ANY 0x7ff5u
#define CERO_DOMID_IDLE 0x7fffu

#define CERO_LEGACY_MAX_VCPUS 32 /* vCPUs that have a vcpu_info inside shared_info */

#endif
