/* SPDX-License-Identifier: BSD-2-Clause */
/* Where lwIP asks our routing table. */
#ifndef CERO_LWIP_HOOKS_H
#define CERO_LWIP_HOOKS_H

#include "lwip/ip4_addr.h"
#include "lwip/netif.h"

#ifdef __cplusplus
extern "C" {
#endif
struct netif* cero_net_route(const ip4_addr_t* source, const ip4_addr_t* destination);
const ip4_addr_t* cero_net_gateway(struct netif* netif, const ip4_addr_t* destination);
#ifdef __cplusplus
}
#endif

#endif
