// SPDX-License-Identifier: BSD-2-Clause
// The timers of this vCPU in order of time, and the hypervisor timer that serves the earliest.
#pragma once

#include <kernel/time.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

/// Armed timers, earliest first. Events are masked.
class TimerQueue {
public:
    void insert(Timer& timer, Nanoseconds deadline) noexcept {
        remove(timer);
        timer.deadline_ = deadline;
        Timer* at = timers_.back();
        Timer* after = nullptr;
        // From the back: most timers are armed further ahead than those that wait already.
        while (at != nullptr && at->deadline_ > deadline) {
            after = at;
            at = timers_.previous(*at);
        }
        if (after == nullptr)
            timers_.push_back(timer);
        else
            timers_.insert_before(*after, timer);
    }
    static void remove(Timer& timer) noexcept { List::remove(timer); }
    [[nodiscard]] Nanoseconds earliest() noexcept {
        const Timer* first = timers_.front();
        return first == nullptr ? ~Nanoseconds{0} : first->deadline_;
    }
    /// Calls those that are due now. One that is armed again meanwhile has to wait, or timers that
    /// arm themselves could keep event context for ever.
    void run_expired(Nanoseconds now) noexcept {
        List due;
        while (earliest() <= now)
            due.push_back(*timers_.pop_front());
        while (Timer* timer = due.pop_front())
            timer->callback_(timer->context_);
    }

private:
    using List = cero::IntrusiveList<Timer, &Timer::link_>;
    List timers_;
};

void init_time() noexcept;
/// Tells the hypervisor the earliest deadline, if it does not know it. Called before leaving the
/// kernel (to user mode or into idleness), so that timers that come and go meanwhile cost nothing.
void program_timer() noexcept;
/// Cheap test whether program_timer() has work.
[[nodiscard]] bool timer_needs_programming() noexcept;

} // namespace kernel
