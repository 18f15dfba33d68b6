// SPDX-License-Identifier: BSD-2-Clause
// The serial line as the control domain's console: its interrupt, and the key that reaches the
// hypervisor.
#pragma once

namespace cero::platform {

/// Routes the UART's interrupt. Input raises Softirq::console.
void start_console_input() noexcept;

} // namespace cero::platform
