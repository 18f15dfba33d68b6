// SPDX-License-Identifier: BSD-2-Clause
// The rest of the kernel, as much of it as the file-system layer needs on the development machine.
#pragma once

#include <kernel/vfs.hpp>

#include <cstddef>

namespace host {

/// Mounts a root tmpfs once per process and resets the current process to it.
void start();
/// Pages and heap blocks in use, for leak checks.
std::size_t pages_in_use();
/// After `count` more allocations of any kind they fail; negative: never.
void fail_allocations_after(int count);
/// The last signal sent to the current process, and forgets it.
int taken_signal();
void set_wall_clock(std::uint64_t ns);

} // namespace host
