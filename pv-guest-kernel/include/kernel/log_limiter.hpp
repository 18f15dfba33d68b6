// SPDX-License-Identifier: BSD-2-Clause
// LogLimiter: how many lines one cause may put into the log. For lines that another domain or a
// program can provoke: the console is slow, and the log keeps what is newest.
#pragma once

#include <kernel/log.hpp>
#include <kernel/types.hpp>

namespace kernel {

/// `burst` lines at once, then one per `interval`. No lock: an event that comes between costs or
/// gains a line at most.
class LogLimiter {
public:
    static constexpr unsigned burst = 5;
    static constexpr Nanoseconds interval = 60 * ns_per_s;

    /// Whether a line may be written at `now`; else it counts as left out.
    [[nodiscard]] constexpr bool admit(Nanoseconds now) noexcept {
        const Nanoseconds regained = (now - since_) / interval;
        if (regained >= spent_) {
            spent_ = 0;
            since_ = now;
        } else {
            spent_ -= static_cast<unsigned>(regained);
            since_ += regained * interval;
        }
        if (spent_ == burst) {
            ++left_out_;
            return false;
        }
        ++spent_;
        return true;
    }
    /// Lines left out since this was asked last.
    [[nodiscard]] constexpr std::uint64_t take_left_out() noexcept {
        const std::uint64_t count = left_out_;
        left_out_ = 0;
        return count;
    }

private:
    Nanoseconds since_{}; ///< the last moment when lines were regained
    unsigned spent_{};    ///< of `burst`
    std::uint64_t left_out_{};
};

/// printk() when the limiter admits it; says how many lines were left out before.
void printk_limited(LogLimiter& limiter, Level level, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

} // namespace kernel
