// SPDX-License-Identifier: BSD-2-Clause
// Set-up of the system-call table.
#pragma once

namespace kernel {

void init_syscalls() noexcept;

} // namespace kernel
