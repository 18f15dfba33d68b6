// SPDX-License-Identifier: BSD-2-Clause
// WaitTable: a thread's wait on many queues at once, for poll and select.
#pragma once

#include <kernel/poll.hpp>

#include <new>

namespace kernel {

class WaitTable final : public PollTable {
public:
    WaitTable() noexcept = default;
    ~WaitTable() {
        for (Observer& observer : few_)
            if (observer.queue != nullptr)
                observer.queue->remove(observer);
        while (more_ != nullptr) {
            Observer* next = more_->next;
            if (more_->queue != nullptr)
                more_->queue->remove(*more_);
            delete more_;
            more_ = next;
        }
    }
    WaitTable(const WaitTable&) = delete;
    WaitTable& operator=(const WaitTable&) = delete;

    void watch(PollQueue& queue) noexcept override {
        Observer* observer = nullptr;
        if (used_ < few) {
            observer = &few_[used_++];
        } else {
            observer = new (std::nothrow) Observer;
            if (observer == nullptr) { // look again at once rather than miss it
                fired_ = true;
                return;
            }
            observer->next = more_;
            more_ = observer;
        }
        observer->table = this;
        queue.add(*observer);
    }

    /// Sleeps until a watched queue notifies. timedout or restart otherwise.
    [[nodiscard]] Status wait(Nanoseconds deadline) noexcept {
        auto status = queue_.wait_until_interruptible(deadline, [this] { return fired_; });
        fired_ = false;
        return status;
    }

private:
    struct Observer final : PollObserver {
        void triggered(std::uint32_t) noexcept override {
            table->fired_ = true;
            table->queue_.wake_all();
        }
        WaitTable* table{};
        Observer* next{};
    };
    static constexpr std::size_t few = 6;

    Observer few_[few];
    std::size_t used_{};
    Observer* more_{};
    WaitQueue queue_;
    volatile bool fired_{};
};

} // namespace kernel
