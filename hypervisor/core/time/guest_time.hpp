// SPDX-License-Identifier: BSD-2-Clause
// What a guest sees of time: vcpu_time_info, wall clock, runstate.
#pragma once

#include <core/domain/domain.hpp>

namespace cero {

/// Writes vcpu_time_info of the vCPU where its vcpu_info is now (version protocol).
void publish_time(Vcpu& vcpu);
/// Writes the copy in the registered time area of the current vCPU; false when it cannot be
/// written.
[[nodiscard]] bool publish_time_area(Vcpu& vcpu);
/// Writes the wall clock of the domain's shared_info.
void publish_wall_clock(Domain& domain);
/// Sets the machine's wall clock: UTC at a system time; all domains see it.
void set_wall_clock(std::uint64_t seconds, std::uint32_t nanoseconds, Nanoseconds at);

/// The vCPU enters `state` (CERO_RUNSTATE_*) now. Its run queue is locked.
void change_runstate(Vcpu& vcpu, std::uint32_t state, Nanoseconds now);
/// Copies the runstate to the registered area. The vCPU's kernel tables are loaded on this CPU.
void publish_areas(Vcpu& vcpu);

} // namespace cero
