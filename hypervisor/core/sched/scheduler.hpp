// SPDX-License-Identifier: BSD-2-Clause
// Scheduler: weighted fair sharing of each CPU by virtual time, with balancing between CPUs.
#pragma once

#include <core/domain/vcpu.hpp>

namespace cero::sched {

/// Makes a CPU schedulable; `idle` is its idle vCPU and the current one to begin with.
void prepare_cpu(CpuId cpu, Vcpu& idle);
/// Picks who runs next on this CPU and switches to it. Called on the way out when a reschedule was
/// asked for, and by the idle loop. Interrupts off, no lock held.
void schedule();
/// Gives a new vCPU a CPU. It does not run before it is woken.
void insert(Vcpu& vcpu);
/// Takes a vCPU that is paused for good out of the scheduler.
void remove(Vcpu& vcpu);
/// Queues the vCPU if nothing stops it, and preempts where it should. From any context.
void wake(Vcpu& vcpu);
/// Clears `blocked`, ends a poll, and wakes.
void unblock(Vcpu& vcpu);
/// After a flag or pause count was set: makes the vCPU leave its CPU soon.
void stop(Vcpu& vcpu);
/// The current vCPU goes behind those that wait.
void yield();

void pause(Domain& domain);
/// pause(), then waits until the registers of all but the current vCPU are in memory.
void pause_and_wait(Domain& domain);
void unpause(Domain& domain);

/// Allowed CPUs; moves the vCPU where it must. inval when none of them is online.
Status set_affinity(Vcpu& vcpu, CpuMask cpus);
/// Weight (1..65535) and cap (per cent of one CPU, 0 = none) of a domain.
Status set_share(Domain& domain, std::uint16_t weight, std::uint16_t cap);
/// Times in each state, up to now.
[[nodiscard]] cero_vcpu_runstate_info runstate(Vcpu& vcpu);
/// Time that the vCPU ran, up to now.
[[nodiscard]] Nanoseconds cpu_time(Vcpu& vcpu);
[[nodiscard]] Nanoseconds idle_time(CpuId cpu);

} // namespace cero::sched
