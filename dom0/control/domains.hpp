// SPDX-License-Identifier: BSD-2-Clause
// Domains as the hypervisor lists them.
#pragma once

#include "control/kernel_devices.hpp"

#include <cero/abi/domctl.h>

#include <optional>
#include <vector>

namespace cero::control {

using DomainInfo = cero_domctl_getdomaininfo;

/// std::nullopt when there is no such domain.
[[nodiscard]] std::optional<DomainInfo> domain_info(Privcmd& privcmd, cero_domid domain);
/// All domains, in the order of their numbers. Throws Error.
[[nodiscard]] std::vector<DomainInfo> all_domains(Privcmd& privcmd);

} // namespace cero::control
