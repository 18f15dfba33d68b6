// SPDX-License-Identifier: BSD-2-Clause
// GuestQuota: how much of this vCPU the events that other domains cause may take.
//
//   window  |== dispatch ==|·gap·|===== dispatch =====|·gap·|== ... spent |--- threads ---| next
//
// Time is cut into windows, of each of which a part is owed to the threads. What lies between the
// end of a dispatch and the beginning of the next is the threads', less what it takes to get out of
// events and back in: under a flood of events a gap is nothing else. The smallest gap ever seen
// tells how much that is.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

/// Pure arithmetic; the caller gives a clock that stands still while the hypervisor runs others,
/// and masks events.
class GuestQuota {
public:
    static constexpr Nanoseconds window = 10 * ns_per_ms;
    static constexpr Nanoseconds threads_share = window / 4;
    /// A window does not end before the threads had their share, unless other events (those of
    /// devices) take it from them for as long as this.
    static constexpr Nanoseconds longest_window = 4 * window;

    /// Forgets what was; a window begins inside a dispatch.
    void restart(Nanoseconds now) noexcept {
        start_ = now;
        threads_ = 0;
    }
    /// As restart(), and `now` is the end of a dispatch: time before was not watched.
    void begin(Nanoseconds now) noexcept {
        restart(now);
        left_ = now;
    }

    /// A dispatch begins.
    void enter(Nanoseconds now) noexcept {
        if (now > left_) {
            const Nanoseconds gap = now - left_;
            if (gap < least_gap_)
                least_gap_ = gap;
            if (gap > crossing())
                threads_ += gap - crossing();
        }
        if (is_over(now))
            restart(now);
    }
    /// The dispatch ends.
    void leave(Nanoseconds now) noexcept { left_ = now; }

    /// Inside a dispatch: whether events had their part of the window, and threads not theirs.
    [[nodiscard]] bool is_spent(Nanoseconds now) const noexcept {
        return since_start(now) >= threads_ + (window - threads_share);
    }
    /// Inside a dispatch: whether the next window may begin.
    [[nodiscard]] bool is_over(Nanoseconds now) const noexcept {
        const Nanoseconds elapsed = since_start(now);
        return elapsed >= longest_window || (elapsed >= window && threads_ >= threads_share);
    }
    /// From `now`, inside a dispatch, to the earliest end of the window.
    [[nodiscard]] Nanoseconds time_left(Nanoseconds now) const noexcept {
        const Nanoseconds elapsed = since_start(now);
        const Nanoseconds to_end = elapsed < window ? window - elapsed : 0;
        const Nanoseconds to_longest = elapsed < longest_window ? longest_window - elapsed : 0;
        const Nanoseconds owed =
            threads_ < threads_share ? threads_share - threads_ + crossing() : 0;
        const Nanoseconds wait = owed > to_end ? owed : to_end;
        return wait < to_longest ? wait : to_longest;
    }

private:
    /// What a thread that was interrupted from user mode pays is more than the smallest gap, which
    /// is that of a thread that unmasked events in the kernel.
    static constexpr unsigned gaps_per_crossing = 4;
    static constexpr Nanoseconds first_guess = 10 * ns_per_us;

    [[nodiscard]] Nanoseconds since_start(Nanoseconds now) const noexcept {
        return now > start_ ? now - start_ : 0;
    }
    [[nodiscard]] Nanoseconds crossing() const noexcept { return gaps_per_crossing * least_gap_; }

    Nanoseconds start_{};
    Nanoseconds left_{};    ///< end of the last dispatch
    Nanoseconds threads_{}; ///< what threads had of this window
    Nanoseconds least_gap_{first_guess};
};

} // namespace kernel
