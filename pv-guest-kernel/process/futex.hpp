// SPDX-License-Identifier: BSD-2-Clause
// Futexes: sleeping on a word of user memory.
#pragma once

#include <kernel/user_copy.hpp>

namespace kernel {

struct Thread;

/// Wakes up to `count` sleepers of the current process' address; yields how many.
int futex_wake(UserAddress address, int count) noexcept;
/// Marks the robust locks that the ending thread holds as such, and wakes their waiters.
void release_robust_futexes(Thread& thread) noexcept;

} // namespace kernel
