// SPDX-License-Identifier: BSD-2-Clause
// PollQueue: wakes sleepers and informs observers.
#include <kernel/poll.hpp>

namespace kernel {

PollQueue::~PollQueue() {
    while (PollObserver* observer = observers_.pop_front()) {
        observer->queue = nullptr;
        observer->queue_gone();
    }
}

void PollQueue::notify(std::uint32_t events) noexcept {
    waiters.wake_all();
    SpinGuard guard{lock_};
    for (PollObserver& observer : observers_)
        observer.triggered(events);
}

void PollQueue::add(PollObserver& observer) noexcept {
    SpinGuard guard{lock_};
    observer.queue = this;
    observers_.push_back(observer);
}

void PollQueue::remove(PollObserver& observer) noexcept {
    SpinGuard guard{lock_};
    if (observer.queue != this)
        return;
    observers_.remove(observer);
    observer.queue = nullptr;
}

} // namespace kernel
