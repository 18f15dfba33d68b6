/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration of lwIP: no operating system below it, one lock around it, tuned for throughput. */
#ifndef CERO_LWIPOPTS_H
#define CERO_LWIPOPTS_H

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_TIMERS 1
#define LWIP_STATS 0
#define MIB2_STATS 0
/* Routes live in our own table. */
#define LWIP_HOOK_FILENAME "hooks.h"
#define LWIP_HOOK_IP4_ROUTE_SRC(source, destination) cero_net_route(source, destination)
#define LWIP_HOOK_ETHARP_GET_GW(netif, destination) cero_net_gateway(netif, destination)

/* Memory comes from the kernel's heap. */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 16
#define mem_clib_malloc cero_net_malloc
#define mem_clib_calloc cero_net_calloc
#define mem_clib_free cero_net_free
#ifdef __cplusplus
extern "C" {
#endif
void* cero_net_malloc(__SIZE_TYPE__ size);
void* cero_net_calloc(__SIZE_TYPE__ count, __SIZE_TYPE__ size);
void cero_net_free(void* block);
#ifdef __cplusplus
}
#endif

#define LWIP_IPV4 1
#define LWIP_IPV6 0
#define LWIP_ARP 1
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 16
#define ARP_TABLE_SIZE 64
#define ETHARP_SUPPORT_STATIC_ENTRIES 1
#define LWIP_ETHERNET 1
#define ETH_PAD_SIZE 0
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_DNS 0
#define LWIP_IGMP 0
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 64
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_LOOPBACK_MAX_PBUFS 1024
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_SINGLE_NETIF 0
#define LWIP_NETIF_HWADDRHINT 1
#define SO_REUSE 1
#define SO_REUSE_RXTOALL 1
#define LWIP_SO_RCVBUF 0
#define IP_SOF_BROADCAST 0
#define IP_SOF_BROADCAST_RECV 0

/* Checksums of received packets are checked before lwIP sees them, unless the sender's side vouches
 * for them; those of sent packets are set per interface. */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_UDP 0

#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 4
#define TCP_WND (512 * 1024)
#define TCP_SND_BUF (512 * 1024)
#define TCP_SND_QUEUELEN (4 * (TCP_SND_BUF / TCP_MSS))
#define MEMP_NUM_TCP_SEG TCP_SND_QUEUELEN
#define TCP_OVERSIZE TCP_MSS
#define TCP_SNDLOWAT (32 * 1024)
#define TCP_SNDQUEUELOWAT (TCP_SND_QUEUELEN / 2)
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_TIMESTAMPS 0
/* Per connection: the peer's segment size, where the device cuts larger ones (segment_offload.cpp).
 */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 128
#define TCP_MSL 5000UL
#define TCP_TMR_INTERVAL 100
#define MEMP_NUM_SYS_TIMEOUT 16

#define LWIP_DEBUG 0
#define LWIP_RAND() cero_net_random()
#ifdef __cplusplus
extern "C"
#endif
    unsigned int
    cero_net_random(void);

#endif
