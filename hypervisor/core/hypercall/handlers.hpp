// SPDX-License-Identifier: BSD-2-Clause
// The typed handlers of hypercalls that live in hypervisor/core, for the dispatch table.
#pragma once

#include <cero/abi/domctl.h>
#include <core/hypercall/hypercall.hpp>

namespace cero {

Status event_channel_op(Vcpu& current, std::uint32_t command, std::uint64_t argument);
Result<std::int64_t> sched_op(Vcpu& current, std::uint32_t command, std::uint64_t argument);
Result<std::int64_t> vcpu_op(Vcpu& current, std::uint32_t command, std::uint32_t vcpu, std::uint64_t argument);
Status set_timer_op(Vcpu& current, std::uint64_t deadline);
Result<std::int64_t> version_op(Vcpu& current, std::uint32_t command, std::uint64_t argument);
Result<std::int64_t> console_op(Vcpu& current, std::uint32_t command, std::uint32_t count, std::uint64_t buffer);
Status vm_assist_op(Vcpu& current, std::uint32_t command, std::uint32_t type);
Status physdev_op(Vcpu& current, std::uint32_t command, std::uint64_t argument);
Result<std::int64_t> domctl_op(Vcpu& current, std::uint64_t argument);
Status sysctl_op(Vcpu& current, std::uint64_t argument);
Status platform_op(Vcpu& current, std::uint64_t argument);
Status multicall(Vcpu& current, std::uint64_t entries, std::uint64_t count);

/// Shared by domctl and sysctl.
void describe_domain(Domain& domain, cero_domctl_getdomaininfo& info);

} // namespace cero
