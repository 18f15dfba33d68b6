// SPDX-License-Identifier: BSD-2-Clause
// In place of the kernel's hypercalls in host tests of events: host_events.cpp answers.
#pragma once

#include <cero/abi/event.h>
#include <cero/abi/types.h>
#include <kernel/hypercall.hpp>

namespace kernel::hyper {

long event_channel_op(unsigned command, void* argument) noexcept;
void deliver_events() noexcept;

} // namespace kernel::hyper
