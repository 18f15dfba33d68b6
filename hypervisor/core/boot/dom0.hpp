// SPDX-License-Identifier: BSD-2-Clause
// Building the control domain from the boot modules.
#pragma once

#include <core/types.hpp>

namespace cero {

/// Builds dom0 from the first module (a PV kernel) and the second (an initial ramdisk, optional),
/// and makes it runnable. Options: dom0_mem=SIZE, dom0_max_vcpus=N. On failure one message that
/// names object, cause and remedy has been logged. Call once, on the boot CPU, its idle vCPU
/// current.
Status build_control_domain();

} // namespace cero
