/* SPDX-License-Identifier: MIT */
/* Scheduling and vCPUs: sched_op, vcpu_op. */
#ifndef CERO_ABI_SCHED_H
#define CERO_ABI_SCHED_H

#include <cero/abi/types.h>

#define CERO_SCHEDOP_yield 0
#define CERO_SCHEDOP_block 1
#define CERO_SCHEDOP_shutdown 2
#define CERO_SCHEDOP_poll 3
#define CERO_SCHEDOP_remote_shutdown 4
#define CERO_SCHEDOP_shutdown_code 5
#define CERO_SCHEDOP_watchdog 6
#define CERO_SCHEDOP_pin_override 7

#define CERO_SHUTDOWN_poweroff 0
#define CERO_SHUTDOWN_reboot 1
#define CERO_SHUTDOWN_suspend 2
#define CERO_SHUTDOWN_crash 3
#define CERO_SHUTDOWN_watchdog 4
#define CERO_SHUTDOWN_soft_reset 5

struct cero_sched_shutdown {
    uint32_t reason;
};
struct cero_sched_poll {
    cero_guest_ptr ports; /* cero_evtchn_port[nr_ports] */
    uint32_t nr_ports;    /* at most 128 */
    uint32_t pad;
    uint64_t timeout; /* absolute system time in ns; 0 = none */
};
CERO_ABI_SIZE(struct cero_sched_poll, 24);
struct cero_sched_remote_shutdown {
    cero_domid domain_id;
    uint16_t pad;
    uint32_t reason;
};
CERO_ABI_SIZE(struct cero_sched_remote_shutdown, 8);
struct cero_sched_watchdog {
    uint32_t id;
    uint32_t timeout; /* seconds */
};
struct cero_sched_pin_override {
    int32_t pcpu;
};

#define CERO_VCPUOP_initialise 0
#define CERO_VCPUOP_up 1
#define CERO_VCPUOP_down 2
#define CERO_VCPUOP_is_up 3
#define CERO_VCPUOP_get_runstate_info 4
#define CERO_VCPUOP_register_runstate_memory_area 5
#define CERO_VCPUOP_set_periodic_timer 6
#define CERO_VCPUOP_stop_periodic_timer 7
#define CERO_VCPUOP_set_singleshot_timer 8
#define CERO_VCPUOP_stop_singleshot_timer 9
#define CERO_VCPUOP_register_vcpu_info 10
#define CERO_VCPUOP_send_nmi 11
#define CERO_VCPUOP_get_physid 12
#define CERO_VCPUOP_register_vcpu_time_memory_area 13

#define CERO_RUNSTATE_running 0
#define CERO_RUNSTATE_runnable 1
#define CERO_RUNSTATE_blocked 2
#define CERO_RUNSTATE_offline 3
#define CERO_RUNSTATE_UPDATE (1ull << 63)
struct cero_vcpu_runstate_info {
    uint32_t state;
    uint32_t pad;
    uint64_t state_entry_time;
    uint64_t time[4]; /* ns spent in each state */
};
CERO_ABI_SIZE(struct cero_vcpu_runstate_info, 48);
struct cero_vcpu_register_runstate_memory_area {
    uint64_t addr;
};
struct cero_vcpu_register_time_memory_area {
    uint64_t addr;
};
struct cero_vcpu_set_periodic_timer {
    uint64_t period_ns;
};
#define CERO_VCPU_SSHOTTMR_future (1u << 0)
struct cero_vcpu_set_singleshot_timer {
    uint64_t timeout_abs_ns;
    uint32_t flags;
    uint32_t pad;
};
CERO_ABI_SIZE(struct cero_vcpu_set_singleshot_timer, 16);
struct cero_vcpu_register_vcpu_info {
    cero_frame mfn;
    uint32_t offset;
    uint32_t rsvd;
};
CERO_ABI_SIZE(struct cero_vcpu_register_vcpu_info, 16);
struct cero_vcpu_get_physid {
    uint64_t phys_id;
};

#endif
