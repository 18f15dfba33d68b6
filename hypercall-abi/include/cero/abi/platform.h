/* SPDX-License-Identifier: MIT */
/* platform_op: the machine's clock and power states, control domain only. */
#ifndef CERO_ABI_PLATFORM_H
#define CERO_ABI_PLATFORM_H

#include <cero/abi/types.h>

#define CERO_PLATFORM_INTERFACE_VERSION 0x03000001u
#define CERO_XENPF_settime32 17
#define CERO_XENPF_firmware_info 50
#define CERO_XENPF_enter_acpi_sleep 51
#define CERO_XENPF_get_cpuinfo 55
#define CERO_XENPF_settime64 62

struct cero_xenpf_settime32 {
    uint32_t secs;
    uint32_t nsecs;
    uint64_t system_time;
};
struct cero_xenpf_settime64 {
    uint64_t secs;
    uint32_t nsecs;
    uint32_t mbz;
    uint64_t system_time;
};
struct cero_xenpf_enter_acpi_sleep {
    uint16_t val_a, val_b;
    uint32_t sleep_state;
    uint32_t flags;
};
struct cero_xenpf_pcpuinfo {
    uint32_t xen_cpuid;   /* in */
    uint32_t max_present; /* out, as the rest */
    uint32_t flags;       /* bit 0 online */
    uint32_t apic_id;
    uint32_t acpi_id;
};
struct cero_platform_op {
    uint32_t cmd;
    uint32_t interface_version;
    union {
        struct cero_xenpf_settime32 settime32;
        struct cero_xenpf_settime64 settime64;
        struct cero_xenpf_enter_acpi_sleep enter_acpi_sleep;
        struct cero_xenpf_pcpuinfo pcpu_info;
        uint8_t room[128];
    } u;
};
CERO_ABI_SIZE(struct cero_platform_op, 136);

#endif
