// SPDX-License-Identifier: BSD-2-Clause
// The pairing heap of deadlines, and the queue of each CPU.
#include <core/time/timer.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/cpu.hpp>

namespace cero {

Timer* TimerQueue::meld(Timer* left, Timer* right) noexcept {
    if (left == nullptr) return right;
    if (right == nullptr) return left;
    if (right->deadline_ < left->deadline_) {
        Timer* other = left;
        left = right;
        right = other;
    }
    right->previous_ = left;
    right->sibling_ = left->child_;
    if (left->child_ != nullptr) left->child_->previous_ = right;
    left->child_ = right;
    return left;
}

/// Melds the children of a removed root: pairs from left to right, then all pairs into one.
Timer* TimerQueue::meld_siblings(Timer* first) noexcept {
    Timer* pairs = nullptr; // melded pairs, linked through sibling_, last one first
    while (first != nullptr) {
        Timer* second = first->sibling_;
        Timer* rest = second == nullptr ? nullptr : second->sibling_;
        first->sibling_ = nullptr;
        if (second != nullptr) second->sibling_ = nullptr;
        Timer* pair = meld(first, second);
        pair->sibling_ = pairs;
        pairs = pair;
        first = rest;
    }
    Timer* root = nullptr;
    while (pairs != nullptr) {
        Timer* next = pairs->sibling_;
        pairs->sibling_ = nullptr;
        root = meld(root, pairs);
        pairs = next;
    }
    if (root != nullptr) root->previous_ = nullptr;
    return root;
}

void TimerQueue::insert(Timer& timer, Nanoseconds deadline, CpuId cpu) noexcept {
    timer.deadline_ = deadline;
    timer.child_ = timer.sibling_ = timer.previous_ = nullptr;
    timer.cpu_.store(cpu.raw(), Order::relaxed);
    timer.armed_.store(true, Order::release);
    root_ = meld(root_, &timer);
    root_->previous_ = nullptr;
}

void TimerQueue::remove(Timer& timer) noexcept {
    Timer* below = meld_siblings(timer.child_);
    if (&timer == root_) {
        root_ = below;
    } else {
        if (timer.previous_->child_ == &timer)
            timer.previous_->child_ = timer.sibling_;
        else
            timer.previous_->sibling_ = timer.sibling_;
        if (timer.sibling_ != nullptr) timer.sibling_->previous_ = timer.previous_;
        root_ = meld(root_, below);
    }
    timer.child_ = timer.sibling_ = timer.previous_ = nullptr;
    timer.armed_.store(false, Order::release);
}

bool TimerQueue::postpone(Timer& timer, Nanoseconds deadline) noexcept {
    if (timer.child_ != nullptr || deadline < timer.deadline_) return false;
    timer.deadline_ = deadline;
    return true;
}

Timer* TimerQueue::pop_due(Nanoseconds now) noexcept {
    Timer* due = root_;
    if (due == nullptr || due->deadline_ > now) return nullptr;
    remove(*due);
    return due;
}

namespace {

constinit TimerQueue queues[max_cpus];

TimerQueue& queue_of(CpuId cpu) noexcept { return queues[cpu.raw() % max_cpus]; }

/// The timer's own lock is held, so nobody else arms it; its CPU may take it off as due.
void disarm(Timer& timer) {
    while (timer.is_armed()) {
        TimerQueue& queue = queue_of(timer.cpu());
        LockGuard guard{queue.lock};
        if (timer.is_armed()) queue.remove(timer);
    }
}

} // namespace

void set_timer(Timer& timer, Nanoseconds deadline) {
    LockGuard own{timer.lock()};
    const CpuId cpu = arch::this_cpu_id();
    TimerQueue& queue = queue_of(cpu);
    if (timer.is_armed() && timer.cpu() != cpu) disarm(timer);
    LockGuard guard{queue.lock};
    if (!timer.is_armed())
        queue.insert(timer, deadline, cpu);
    else if (!queue.postpone(timer, deadline)) {
        queue.remove(timer);
        queue.insert(timer, deadline, cpu);
    }
    if (queue.programmed.raw() == 0 || deadline < queue.programmed) {
        queue.programmed = deadline;
        arch::set_timer_deadline(deadline);
    }
}

void stop_timer(Timer& timer) {
    if (!timer.is_armed()) return;
    LockGuard own{timer.lock()};
    disarm(timer);
}

void stop_timer_and_wait(Timer& timer) {
    stop_timer(timer);
    const TimerQueue& queue = queue_of(timer.cpu());
    while (queue.running.load(Order::acquire) == &timer) {
        arch::service_remote_requests();
        arch::relax();
    }
    stop_timer(timer); // the callback may have armed it again
}

void run_due_timers() {
    TimerQueue& queue = queue_of(arch::this_cpu_id());
    for (;;) {
        Timer* due = nullptr;
        {
            LockGuard guard{queue.lock};
            due = queue.pop_due(arch::system_time());
            queue.running.store(due, Order::release);
            if (due == nullptr) {
                const Timer* next = queue.first();
                queue.programmed = next == nullptr ? Nanoseconds{} : next->deadline();
                arch::set_timer_deadline(queue.programmed);
                return;
            }
        }
        due->run();
    }
}

} // namespace cero
