// SPDX-License-Identifier: BSD-2-Clause
// Initcalls: functions that run once at boot, in order of level, in a thread that may sleep.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

using Initcall = void (*)();

} // namespace kernel

/// CERO_INITCALL(level, function) with level one of core, subsys, fs, device, late. Within a level
/// the order is unspecified. /init starts after `late`.
#define CERO_INITCALL(level, function)                                                             \
    [[gnu::used,                                                                                   \
      gnu::section(".initcall." CERO_INITCALL_##level)]] static const ::kernel::Initcall           \
        initcall_##function = (function)

#define CERO_INITCALL_core "1"
#define CERO_INITCALL_subsys "2"
#define CERO_INITCALL_fs "3"
#define CERO_INITCALL_device "4"
#define CERO_INITCALL_late "5"
