/* SPDX-License-Identifier: BSD-2-Clause */
/* Compares every structure, field and constant of our ABI with Debian's libxen-dev; prints each
 * difference. */
#define __XEN_TOOLS__ 1
#define __XEN_INTERFACE_VERSION__ 0x00040d00
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <xen/xen.h>

#include <xen/arch-x86/cpuid.h>
#include <xen/callback.h>
#include <xen/domctl.h>
#include <xen/elfnote.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/netif.h>
#include <xen/io/ring.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>

#include "all.h"

static unsigned compared, different;

static void compare(const char* what, const char* item, long long ours, long long theirs) {
    compared++;
    if (ours != theirs) {
        different++;
        printf("%s of %s: ours %lld, libxen-dev's %lld\n", what, item, ours, theirs);
    }
}

#define CERO_CHECK_SIZE(ours, theirs, size)                                                        \
    compare("size", #ours, (long long)sizeof(ours), (long long)sizeof(theirs));
#define CERO_CHECK_OWN_SIZE(ours, size)
#define CERO_CHECK_FIELD(ours, theirs, field, offset, size)                                        \
    compare("offset", #ours "." #field, (long long)offsetof(ours, field),                          \
            (long long)offsetof(theirs, field));                                                   \
    compare("size", #ours "." #field, (long long)sizeof(((ours*)0)->field),                        \
            (long long)sizeof(((theirs*)0)->field));
#define CERO_CHECK_OWN_FIELD(ours, field, offset, size)
#define CERO_CHECK_CONSTANT(ours, theirs)                                                          \
    compare("value", #ours, (long long)(ours), (long long)(theirs));

int main(void) {
#include "constants.def"
#include "fields.def"
    printf("%u sizes, offsets and values compared, %u differ\n", compared, different);
    return different != 0;
}
