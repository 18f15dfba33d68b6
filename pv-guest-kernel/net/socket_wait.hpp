// SPDX-License-Identifier: BSD-2-Clause
// How a socket call sleeps.
#pragma once

#include "socket.hpp"
#include <kernel/time.hpp>

namespace kernel::net {

template <typename Predicate>
Status wait_ready(WaitQueue& queue, bool nonblocking, std::uint64_t timeout_ns,
                  Predicate predicate) noexcept {
    if (predicate())
        return {};
    if (nonblocking)
        return Errno::again;
    const Nanoseconds deadline =
        timeout_ns == 0 ? WaitQueue::no_deadline : monotonic_ns() + timeout_ns;
    auto status = queue.wait_until_interruptible(deadline, predicate);
    return status.error() == Errno::timedout ? Status{Errno::again} : Status{status.error()};
}

} // namespace kernel::net
