// SPDX-License-Identifier: BSD-2-Clause
// The memory devices of /dev.
#pragma once

namespace kernel::mem_devices {

void initialize() noexcept;

} // namespace kernel::mem_devices
