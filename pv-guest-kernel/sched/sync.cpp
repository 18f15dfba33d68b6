// SPDX-License-Identifier: BSD-2-Clause
// Event masking, spin locks, wait queues and what is built on them.
#include "arch/x86_64/cpu.hpp"
#include "event/upcall.hpp"
#include "sched/thread.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>

namespace kernel {

EventGuard::EventGuard() noexcept : was_masked_{events_masked()} {
    mask_events();
}
EventGuard::~EventGuard() {
    if (!was_masked_)
        unmask_events();
}

void Spinlock::lock() noexcept {
    while (held_.exchange(1, cero::Order::acquire) != 0)
        cpu_relax();
}
void Spinlock::unlock() noexcept {
    held_.store(0, cero::Order::release);
}

void WaitQueue::prepare(Waiter& waiter, bool interruptible) noexcept {
    SpinGuard guard{lock_};
    Thread* self = current();
    waiter.thread = self;
    if (!waiter.link.is_linked())
        waiters_.push_back(waiter);
    self->timed_out = false;
    self->state = interruptible ? ThreadState::interruptible : ThreadState::sleeping;
}

void WaitQueue::finish(Waiter& waiter, bool satisfied) noexcept {
    bool pass_on = false;
    {
        SpinGuard guard{lock_};
        current()->state = ThreadState::runnable;
        pass_on = !satisfied && !waiter.link.is_linked();
        decltype(waiters_)::remove(waiter);
    }
    if (pass_on)
        wake_one();
}

void WaitQueue::sleep() noexcept {
    schedule();
}

bool WaitQueue::sleep_until(Nanoseconds deadline) noexcept {
    if (deadline == no_deadline) {
        schedule();
        return true;
    }
    Thread* self = current();
    {
        EventGuard guard;
        if (deadline <= monotonic_ns()) {
            self->state = ThreadState::runnable;
            return false;
        }
        self->wake_timer.arm(deadline);
        schedule();
        self->wake_timer.cancel();
    }
    return !self->timed_out;
}

bool WaitQueue::interrupted() noexcept {
    return current()->signal_check;
}

void WaitQueue::wake_one() noexcept {
    SpinGuard guard{lock_};
    for (Waiter& waiter : waiters_) {
        if (waiter.on_wake != nullptr) {
            if (!waiter.on_wake(waiter))
                continue;
            return;
        }
        // Unlinked here, so that the next wake_one() reaches the next sleeper.
        decltype(waiters_)::remove(waiter);
        make_runnable(*waiter.thread);
        return;
    }
}

void WaitQueue::wake_all() noexcept {
    SpinGuard guard{lock_};
    for (Waiter& waiter : waiters_) {
        if (waiter.on_wake != nullptr)
            static_cast<void>(waiter.on_wake(waiter));
        else
            make_runnable(*waiter.thread);
    }
}

void WaitQueue::add(Waiter& waiter) noexcept {
    SpinGuard guard{lock_};
    waiters_.push_back(waiter);
}
void WaitQueue::remove(Waiter& waiter) noexcept {
    SpinGuard guard{lock_};
    decltype(waiters_)::remove(waiter);
}

void Mutex::lock() noexcept {
    if (!try_lock())
        queue_.wait([this] { return try_lock(); });
}
bool Mutex::try_lock() noexcept {
    EventGuard guard;
    if (owner_ != nullptr)
        return false;
    owner_ = current();
    return true;
}
void Mutex::unlock() noexcept {
    owner_ = nullptr;
    if (queue_.has_waiters())
        queue_.wake_one();
}
bool Mutex::held_by_current() const noexcept {
    return owner_ == current();
}

void Semaphore::down() noexcept {
    if (!try_down())
        queue_.wait([this] { return try_down(); });
}
bool Semaphore::try_down() noexcept {
    SpinGuard guard{lock_};
    if (count_ == 0)
        return false;
    --count_;
    return true;
}
bool Semaphore::down_until(Nanoseconds deadline) noexcept {
    return queue_.wait_until(deadline, [this] { return try_down(); });
}
void Semaphore::up() noexcept {
    {
        SpinGuard guard{lock_};
        ++count_;
    }
    queue_.wake_one();
}

} // namespace kernel
