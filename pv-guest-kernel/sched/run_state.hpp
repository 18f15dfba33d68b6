// SPDX-License-Identifier: BSD-2-Clause
// Who wants this vCPU, and what the hypervisor took of it.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

/// Whether any thread but the idle one runs or could run.
[[nodiscard]] bool any_thread_wants_cpu() noexcept;

/// From now on stolen_ns() counts; it costs a little at each switch to this vCPU.
void watch_stolen_time() noexcept;
/// How long this vCPU was ready to run while the hypervisor ran others.
[[nodiscard]] Nanoseconds stolen_ns() noexcept;

} // namespace kernel
