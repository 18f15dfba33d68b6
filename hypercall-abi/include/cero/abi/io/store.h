/* SPDX-License-Identifier: MIT */
/* XenStore wire protocol and ring page; XenbusState. */
#ifndef CERO_ABI_IO_STORE_H
#define CERO_ABI_IO_STORE_H

#include <cero/abi/types.h>

#define CERO_XENSTORE_RING_SIZE 1024u
#define CERO_XENSTORE_PAYLOAD_MAX 4096u
#define CERO_XENSTORE_ABS_PATH_MAX 3072u
#define CERO_XENSTORE_REL_PATH_MAX 2048u
struct cero_xenstore_page {
    char req[CERO_XENSTORE_RING_SIZE]; /* guest to store */
    char rsp[CERO_XENSTORE_RING_SIZE]; /* store to guest: replies and watch events */
    uint32_t req_cons, req_prod;
    uint32_t rsp_cons, rsp_prod;
    uint32_t server_features;
    uint32_t connection;
    uint32_t error;
};
CERO_ABI_SIZE(struct cero_xenstore_page, 2076);
CERO_ABI_OFFSET(struct cero_xenstore_page, req_cons, 0x800);
CERO_ABI_OFFSET(struct cero_xenstore_page, rsp_prod, 0x80c);
CERO_ABI_OFFSET(struct cero_xenstore_page, error, 0x818);

struct cero_xenstore_message {
    uint32_t type; /* CERO_XS_* */
    uint32_t req_id;
    uint32_t tx_id;
    uint32_t len; /* of the payload that follows */
};
CERO_ABI_SIZE(struct cero_xenstore_message, 16);

#define CERO_XS_CONTROL 0
#define CERO_XS_DIRECTORY 1
#define CERO_XS_READ 2
#define CERO_XS_GET_PERMS 3
#define CERO_XS_WATCH 4
#define CERO_XS_UNWATCH 5
#define CERO_XS_TRANSACTION_START 6
#define CERO_XS_TRANSACTION_END 7
#define CERO_XS_INTRODUCE 8
#define CERO_XS_RELEASE 9
#define CERO_XS_GET_DOMAIN_PATH 10
#define CERO_XS_WRITE 11
#define CERO_XS_MKDIR 12
#define CERO_XS_RM 13
#define CERO_XS_SET_PERMS 14
#define CERO_XS_WATCH_EVENT 15
#define CERO_XS_ERROR 16
#define CERO_XS_IS_DOMAIN_INTRODUCED 17
#define CERO_XS_RESUME 18
#define CERO_XS_SET_TARGET 19
#define CERO_XS_RESET_WATCHES 21
#define CERO_XS_DIRECTORY_PART 22

#define CERO_XENBUS_STATE_unknown 0
#define CERO_XENBUS_STATE_initialising 1
#define CERO_XENBUS_STATE_init_wait 2
#define CERO_XENBUS_STATE_initialised 3
#define CERO_XENBUS_STATE_connected 4
#define CERO_XENBUS_STATE_closing 5
#define CERO_XENBUS_STATE_closed 6
#define CERO_XENBUS_STATE_reconfiguring 7
#define CERO_XENBUS_STATE_reconfigured 8

#endif
