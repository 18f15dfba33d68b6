/* SPDX-License-Identifier: BSD-2-Clause */
/* What lwIP asks of compiler and machine. */
#ifndef CERO_LWIP_ARCH_CC_H
#define CERO_LWIP_ARCH_CC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LWIP_NO_STDDEF_H 0
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_CTYPE_H 1
#define SSIZE_MAX LONG_MAX
#define BYTE_ORDER LITTLE_ENDIAN
#define LWIP_CHKSUM_ALGORITHM 0
#define LWIP_CHKSUM cero_net_checksum

#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#ifdef __cplusplus
extern "C" {
#endif
uint16_t cero_net_checksum(const void* data, int length);
__attribute__((noreturn)) void cero_net_assert(const char* what, const char* file, int line);
#ifdef __cplusplus
}
#endif

#define LWIP_PLATFORM_DIAG(x)
#define LWIP_PLATFORM_ASSERT(x) cero_net_assert(x, __FILE__, __LINE__)

#endif
