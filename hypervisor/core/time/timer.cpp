// SPDX-License-Identifier: BSD-2-Clause
// The pairing heap of deadlines, and the queue of each CPU.
#include <core/time/timer.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/cpu.hpp>

namespace cero {

/// The armed timers of one CPU; `lock` protects everything.
struct TimerQueue {
    Spinlock<LockRank::timer_queue> lock;
    Timer* root{};
    Nanoseconds programmed{}; ///< what the hardware was told; 0 = nothing
    Atomic<Timer*> running{}; ///< whose callback runs now

    static Timer* meld(Timer* left, Timer* right) noexcept {
        if (left == nullptr) return right;
        if (right == nullptr) return left;
        if (right->deadline_ < left->deadline_) return meld(right, left);
        right->previous_ = left;
        right->sibling_ = left->child_;
        if (left->child_ != nullptr) left->child_->previous_ = right;
        left->child_ = right;
        return left;
    }

    /// Melds the children of a removed root: pairs from left to right, then all pairs into one.
    static Timer* meld_siblings(Timer* first) noexcept {
        Timer* pairs = nullptr; // melded pairs, linked through sibling_, last one first
        while (first != nullptr) {
            Timer* second = take(first);
            Timer* rest = second == nullptr ? nullptr : take(second);
            Timer* pair = meld(first, second);
            pair->sibling_ = pairs;
            pairs = pair;
            first = rest;
        }
        Timer* root = nullptr;
        while (pairs != nullptr) {
            Timer* next = take(pairs);
            root = meld(root, pairs);
            pairs = next;
        }
        if (root != nullptr) root->previous_ = nullptr;
        return root;
    }
    /// Ends the list of siblings after this one; returns the rest.
    static Timer* take(Timer* timer) noexcept {
        Timer* rest = timer->sibling_;
        timer->sibling_ = nullptr;
        return rest;
    }

    /// Precondition: armed in this queue, or in none.
    void insert(Timer& timer, Nanoseconds deadline, CpuId cpu) noexcept {
        if (timer.is_armed() && (timer.child_ != nullptr || deadline < timer.deadline_)) remove(timer);
        timer.deadline_ = deadline;
        if (timer.is_armed()) return; // a leaf that moves to a later time leaves the heap as it is
        timer.cpu_.store(cpu.raw(), Order::relaxed);
        timer.armed_.store(true, Order::release);
        root = meld(root, &timer);
        root->previous_ = nullptr;
    }

    /// Precondition: armed in this queue.
    void remove(Timer& timer) noexcept {
        Timer* below = meld_siblings(timer.child_);
        if (&timer == root) {
            root = below;
        } else {
            (timer.previous_->child_ == &timer ? timer.previous_->child_ : timer.previous_->sibling_) = timer.sibling_;
            if (timer.sibling_ != nullptr) timer.sibling_->previous_ = timer.previous_;
            root = meld(root, below);
        }
        timer.child_ = timer.sibling_ = timer.previous_ = nullptr;
        timer.armed_.store(false, Order::release);
    }
};

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
    if (deadline.raw() == 0) deadline = Nanoseconds{1}; // 0 is no deadline
    LockGuard own{timer.lock()};
    const CpuId cpu = arch::this_cpu_id();
    TimerQueue& queue = queue_of(cpu);
    if (timer.is_armed() && timer.cpu() != cpu) disarm(timer);
    LockGuard guard{queue.lock};
    queue.insert(timer, deadline, cpu);
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
    for (unsigned round = 0; round < 2; ++round) { // the callback may have armed it again
        stop_timer(timer);
        for (const TimerQueue& queue : queues) spin_while([&] { return queue.running.load(Order::acquire) == &timer; });
    }
}

void run_due_timers() {
    TimerQueue& queue = queue_of(arch::this_cpu_id());
    for (;;) {
        queue.lock.lock();
        Timer* due = queue.root;
        const bool is_due = due != nullptr && due->deadline() <= arch::system_time();
        queue.running.store(is_due ? due : nullptr, Order::release);
        if (is_due) queue.remove(*due); // after it is seen running: not armed and not running is stopped
        if (!is_due) {
            queue.programmed = due == nullptr ? Nanoseconds{} : due->deadline();
            arch::set_timer_deadline(queue.programmed);
        }
        queue.lock.unlock();
        if (!is_due) return;
        due->run();
    }
}

} // namespace cero
