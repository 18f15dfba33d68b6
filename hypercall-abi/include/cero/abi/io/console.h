/* SPDX-License-Identifier: MIT */
/* Console page: two byte rings. */
#ifndef CERO_ABI_IO_CONSOLE_H
#define CERO_ABI_IO_CONSOLE_H

#include <cero/abi/types.h>

/* Indexes run freely; mask with the ring size. The guest writes `out` and consumes `in`. */
struct cero_console_page {
    char in[1024];
    char out[2048];
    uint32_t in_cons, in_prod;
    uint32_t out_cons, out_prod;
};
CERO_ABI_SIZE(struct cero_console_page, 3088);
CERO_ABI_OFFSET(struct cero_console_page, out, 0x400);
CERO_ABI_OFFSET(struct cero_console_page, in_cons, 0xc00);
CERO_ABI_OFFSET(struct cero_console_page, out_prod, 0xc0c);

#endif
