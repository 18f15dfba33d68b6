// SPDX-License-Identifier: BSD-2-Clause
// Shared by domctl and sysctl.
#pragma once

#include <cero/abi/domctl.h>
#include <core/domain/domain.hpp>

namespace cero {

void describe_domain(Domain& domain, cero_domctl_getdomaininfo& info);
/// Output of a debug key to the log.
void handle_debug_key(char key);

} // namespace cero
