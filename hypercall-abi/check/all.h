/* SPDX-License-Identifier: MIT */
/* Every header of the ABI at once, for the checks. */
#ifndef CERO_ABI_CHECK_ALL_H
#define CERO_ABI_CHECK_ALL_H

#include <cero/abi/domctl.h>
#include <cero/abi/errno.h>
#include <cero/abi/event.h>
#include <cero/abi/grant.h>
#include <cero/abi/hypercall.h>
#include <cero/abi/io/blk.h>
#include <cero/abi/io/console.h>
#include <cero/abi/io/net.h>
#include <cero/abi/io/ring.h>
#include <cero/abi/io/store.h>
#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>
#include <cero/abi/physdev.h>
#include <cero/abi/platform.h>
#include <cero/abi/sched.h>
#include <cero/abi/shared_info.h>
#include <cero/abi/start_info.h>
#include <cero/abi/sysctl.h>
#include <cero/abi/trap.h>
#include <cero/abi/types.h>

#endif
