// SPDX-License-Identifier: BSD-2-Clause
// A machine for host tests of hypervisor/core: an arena as RAM, counted flushes, guest memory that
// is host memory, preemption and faults on demand.
#pragma once

#include <core/types.hpp>

#include <atomic>
#include <cstdint>
#include <vector>

namespace cero::host {

/// (Re)creates RAM of `frames` frames, all free; frames [io_first, io_first + io_count) are a hole.
void reset_machine(std::uint64_t frames, std::uint64_t io_first = 0, std::uint64_t io_count = 0);

/// The n-th next preemption point says stop (0: the very next), and every one after it if `sticky`.
void preempt_after(std::uint64_t points, bool sticky = false);
void never_preempt();
/// Preemption points passed since the last call of preempt_after() or never_preempt().
std::uint64_t preemption_points();

/// Guest accesses to [first, first + bytes) fault from now on; 0 bytes: none do.
void fault_range(const void* first, std::size_t bytes);

/// Makes `vcpu` current on this thread, which plays CPU `cpu`.
void enter_cpu(Vcpu& vcpu, unsigned cpu = 0);

struct Flushes {
    std::atomic<std::uint64_t> local, local_page, remote, remote_page;
};
extern Flushes flushes;

/// Lines that the hypervisor logged.
extern std::vector<const char*> log_formats;
extern bool log_to_stderr;

} // namespace cero::host
