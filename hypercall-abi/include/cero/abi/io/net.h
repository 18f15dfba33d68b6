/* SPDX-License-Identifier: MIT */
/* Network protocol: transmit and receive rings, extra-info slots. */
#ifndef CERO_ABI_IO_NET_H
#define CERO_ABI_IO_NET_H

#include <cero/abi/io/ring.h>

#define CERO_NETTXF_csum_blank (1u << 0)
#define CERO_NETTXF_data_validated (1u << 1)
#define CERO_NETTXF_more_data (1u << 2)
#define CERO_NETTXF_extra_info (1u << 3)
struct cero_netif_tx_request {
    cero_grant_ref gref;
    uint16_t offset;
    uint16_t flags;
    uint16_t id;
    uint16_t size; /* first slot: of the whole packet */
};
CERO_ABI_SIZE(struct cero_netif_tx_request, 12);
struct cero_netif_tx_response {
    uint16_t id;
    int16_t status;
};
CERO_ABI_SIZE(struct cero_netif_tx_response, 4);
union cero_netif_tx_entry {
    struct cero_netif_tx_request request;
    struct cero_netif_tx_response response;
};
CERO_ABI_SIZE(union cero_netif_tx_entry, 12);

#define CERO_NETRXF_data_validated (1u << 0)
#define CERO_NETRXF_csum_blank (1u << 1)
#define CERO_NETRXF_more_data (1u << 2)
#define CERO_NETRXF_extra_info (1u << 3)
#define CERO_NETRXF_gso_prefix (1u << 4)
struct cero_netif_rx_request {
    uint16_t id;
    uint16_t pad;
    cero_grant_ref gref;
};
CERO_ABI_SIZE(struct cero_netif_rx_request, 8);
struct cero_netif_rx_response {
    uint16_t id;
    uint16_t offset;
    uint16_t flags;
    int16_t status; /* length, or a negative CERO_NETIF_RSP_* */
};
CERO_ABI_SIZE(struct cero_netif_rx_response, 8);
union cero_netif_rx_entry {
    struct cero_netif_rx_request request;
    struct cero_netif_rx_response response;
};
#define CERO_NETIF_RING_ENTRIES 256u
#define CERO_NETIF_NR_SLOTS_MIN 18u
#define CERO_NETIF_RSP_DROPPED (-2)
#define CERO_NETIF_RSP_ERROR (-1)
#define CERO_NETIF_RSP_OKAY 0
#define CERO_NETIF_RSP_NULL 1

#define CERO_NETIF_EXTRA_TYPE_NONE 0
#define CERO_NETIF_EXTRA_TYPE_GSO 1
#define CERO_NETIF_EXTRA_TYPE_MCAST_ADD 2
#define CERO_NETIF_EXTRA_TYPE_MCAST_DEL 3
#define CERO_NETIF_EXTRA_TYPE_HASH 4
#define CERO_NETIF_EXTRA_TYPE_XDP 5
#define CERO_NETIF_EXTRA_FLAG_MORE 1u
#define CERO_NETIF_GSO_TYPE_NONE 0
#define CERO_NETIF_GSO_TYPE_TCPV4 1
#define CERO_NETIF_GSO_TYPE_TCPV6 2
struct cero_netif_extra_info {
    uint8_t type;
    uint8_t flags;
    union {
        struct {
            uint16_t size;
            uint8_t type;
            uint8_t pad;
            uint16_t features;
        } gso;
        struct {
            uint8_t addr[6];
        } mcast;
        uint16_t pad[3];
    } u;
};
CERO_ABI_SIZE(struct cero_netif_extra_info, 8);

#endif
