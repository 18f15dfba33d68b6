// SPDX-License-Identifier: BSD-2-Clause
// Consistency of the whole machine: do hypervisor, XenStore and devices tell the same story?
#pragma once

#include "toolstack/domains.hpp"

#include <string>
#include <utility>
#include <vector>

namespace cero::toolstack {

struct CheckReport {
    std::vector<std::pair<std::string, std::uint64_t>> figures; ///< to compare before and after
    std::vector<std::string> problems;
};

[[nodiscard]] CheckReport check_machine(Machine& machine);

} // namespace cero::toolstack
