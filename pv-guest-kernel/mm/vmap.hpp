// SPDX-License-Identifier: BSD-2-Clause
// Mapping of frames that the hypervisor shares with the domain (shared_info, grant table).
#pragma once

#include <kernel/memory.hpp>

namespace kernel {

[[nodiscard]] Result<void*> map_shared_frame(MachineFrame frame) noexcept;

} // namespace kernel
