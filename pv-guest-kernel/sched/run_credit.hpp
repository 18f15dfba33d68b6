// SPDX-License-Identifier: BSD-2-Clause
// RunCredit: how long a kernel thread that works for others may run before programs.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

/// Spent while the thread runs, earned while it does not, as fast: so over a long time it runs
/// before programs for half of the time at most, in whatever pieces its work comes.
class RunCredit {
public:
    static constexpr Nanoseconds most = 10 * ns_per_ms;
    /// A thread that sank rises with this much, so that it does not change with each packet.
    static constexpr Nanoseconds enough_to_rise = most / 2;

    /// The thread gets the CPU.
    void started(Nanoseconds now) noexcept { left_ = at(now); }
    /// It gives it up after it ran for `used`.
    void stopped(Nanoseconds now, Nanoseconds used) noexcept {
        left_ = used < left_ ? left_ - used : 0;
        stopped_ = now;
    }
    /// Whether a thread that has been running for `used` must sink.
    [[nodiscard]] bool is_spent(Nanoseconds used) const noexcept { return used >= left_; }
    /// Whether a thread that sank, and does not run, may rise.
    [[nodiscard]] bool may_rise(Nanoseconds now) const noexcept {
        return at(now) >= enough_to_rise;
    }

private:
    [[nodiscard]] Nanoseconds at(Nanoseconds now) const noexcept {
        const Nanoseconds earned = now > stopped_ ? now - stopped_ : 0;
        return earned < most - left_ ? left_ + earned : most;
    }
    Nanoseconds left_{most};
    Nanoseconds stopped_{};
};

} // namespace kernel
