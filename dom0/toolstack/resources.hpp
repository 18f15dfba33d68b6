// SPDX-License-Identifier: BSD-2-Clause
// CPUs and memory of a running domain: how many vCPUs are online, where they run, how much it has.
#pragma once

#include "toolstack/domains.hpp"

#include <vector>

namespace cero::toolstack {

/// vCPUs that the domain has room for ("maxvcpus").
[[nodiscard]] unsigned vcpu_limit(Machine& machine, cero_domid domain);

/// Asks the guest to have `count` vCPUs online: 0 to count - 1. Its kernel does it when it sees the
/// nodes. Throws Error (usage) for 0 and for more than the domain has room for.
void set_vcpus(Machine& machine, cero_domid domain, unsigned count);

/// Binds a vCPU to CPUs; flags past the machine's CPUs are ignored. Throws Error (usage) when none
/// is left, (not_found) when there is no such vCPU.
void pin_vcpu(Machine& machine, cero_domid domain, unsigned vcpu, std::vector<bool> cpus);

/// Asks the guest's balloon for `mib`, and lets it have no more than that. Throws Error when it is
/// above the domain's maximum or when the machine has less.
void set_memory(Machine& machine, cero_domid domain, std::uint64_t mib);

/// Sets the maximum of later set_memory(). The guest's own map of its memory was made when it was
/// created: a maximum above that one is refused, and so is one below what it was asked to have.
void set_memory_limit(Machine& machine, cero_domid domain, std::uint64_t mib);

} // namespace cero::toolstack
