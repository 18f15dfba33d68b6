/* SPDX-License-Identifier: MIT */
/* Event channels: event_channel_op, VIRQs. */
#ifndef CERO_ABI_EVENT_H
#define CERO_ABI_EVENT_H

#include <cero/abi/types.h>

#define CERO_EVTCHNOP_bind_interdomain 0
#define CERO_EVTCHNOP_bind_virq 1
#define CERO_EVTCHNOP_bind_pirq 2
#define CERO_EVTCHNOP_close 3
#define CERO_EVTCHNOP_send 4
#define CERO_EVTCHNOP_status 5
#define CERO_EVTCHNOP_alloc_unbound 6
#define CERO_EVTCHNOP_bind_ipi 7
#define CERO_EVTCHNOP_bind_vcpu 8
#define CERO_EVTCHNOP_unmask 9
#define CERO_EVTCHNOP_reset 10
#define CERO_EVTCHNOP_init_control 11
#define CERO_EVTCHNOP_expand_array 12
#define CERO_EVTCHNOP_set_priority 13

#define CERO_VIRQ_TIMER 0
#define CERO_VIRQ_DEBUG 1
#define CERO_VIRQ_CONSOLE 2
#define CERO_VIRQ_DOM_EXC 3
#define CERO_VIRQ_TBUF 4
#define CERO_VIRQ_DEBUGGER 6
#define CERO_VIRQ_XENOPROF 7
#define CERO_VIRQ_CON_RING 8
#define CERO_VIRQ_PCPU_STATE 9
#define CERO_VIRQ_MEM_EVENT 10
#define CERO_VIRQ_ARGO 11
#define CERO_VIRQ_ENOMEM 12
#define CERO_VIRQ_XENPMU 13
#define CERO_VIRQ_ARCH_0 16
#define CERO_NR_VIRQS 24

struct cero_evtchn_bind_interdomain {
    cero_domid remote_dom;
    uint16_t pad;
    cero_evtchn_port remote_port;
    cero_evtchn_port local_port; /* out */
};
CERO_ABI_SIZE(struct cero_evtchn_bind_interdomain, 12);
struct cero_evtchn_bind_virq {
    uint32_t virq;
    uint32_t vcpu;
    cero_evtchn_port port; /* out */
};
CERO_ABI_SIZE(struct cero_evtchn_bind_virq, 12);
#define CERO_BIND_PIRQ_WILL_SHARE 1u
struct cero_evtchn_bind_pirq {
    uint32_t pirq;
    uint32_t flags;
    cero_evtchn_port port; /* out */
};
CERO_ABI_SIZE(struct cero_evtchn_bind_pirq, 12);
struct cero_evtchn_close {
    cero_evtchn_port port;
};
struct cero_evtchn_send {
    cero_evtchn_port port;
};
#define CERO_EVTCHNSTAT_closed 0
#define CERO_EVTCHNSTAT_unbound 1
#define CERO_EVTCHNSTAT_interdomain 2
#define CERO_EVTCHNSTAT_pirq 3
#define CERO_EVTCHNSTAT_virq 4
#define CERO_EVTCHNSTAT_ipi 5
struct cero_evtchn_status {
    cero_domid dom; /* in */
    uint16_t pad0;
    cero_evtchn_port port; /* in */
    uint32_t status;       /* out, as the rest */
    uint32_t vcpu;
    union {
        struct {
            cero_domid dom;
        } unbound;
        struct {
            cero_domid dom;
            uint16_t pad;
            cero_evtchn_port port;
        } interdomain;
        uint32_t pirq;
        uint32_t virq;
    } u;
};
CERO_ABI_SIZE(struct cero_evtchn_status, 24);
CERO_ABI_OFFSET(struct cero_evtchn_status, u, 0x10);
struct cero_evtchn_alloc_unbound {
    cero_domid dom;
    cero_domid remote_dom;
    cero_evtchn_port port; /* out */
};
CERO_ABI_SIZE(struct cero_evtchn_alloc_unbound, 8);
struct cero_evtchn_bind_ipi {
    uint32_t vcpu;
    cero_evtchn_port port; /* out */
};
CERO_ABI_SIZE(struct cero_evtchn_bind_ipi, 8);
struct cero_evtchn_bind_vcpu {
    cero_evtchn_port port;
    uint32_t vcpu;
};
CERO_ABI_SIZE(struct cero_evtchn_bind_vcpu, 8);
struct cero_evtchn_unmask {
    cero_evtchn_port port;
};
struct cero_evtchn_reset {
    cero_domid dom;
};

#endif
