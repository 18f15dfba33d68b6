// SPDX-License-Identifier: BSD-2-Clause
// Start-up of the kernel.
#pragma once

#include <cero/abi/start_info.h>

namespace kernel {

[[nodiscard]] const cero_start_info& start_info() noexcept;

} // namespace kernel
