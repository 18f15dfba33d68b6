// SPDX-License-Identifier: BSD-2-Clause
// Timer and TimerQueue: the deadlines of one CPU in an intrusive pairing heap.
#pragma once

#include <core/lock.hpp>
#include <core/types.hpp>

namespace cero {

/// One deadline. Its owner keeps it in place while it is armed. The callback runs on the CPU that
/// armed it, on the way out of the hypervisor, with no lock held, and may arm it again.
class Timer {
public:
    using Callback = void (*)(Timer&);
    constexpr Timer() noexcept = default;
    constexpr Timer(Callback callback, void* who) noexcept : owner{who}, callback_{callback} {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void bind(Callback callback, void* who) noexcept {
        callback_ = callback;
        owner = who;
    }
    [[nodiscard]] Nanoseconds deadline() const noexcept { return deadline_; }
    [[nodiscard]] bool is_armed() const noexcept { return armed_.load(Order::acquire); }
    [[nodiscard]] CpuId cpu() const noexcept { return CpuId{cpu_.load(Order::relaxed)}; }
    [[nodiscard]] Spinlock<LockRank::timer>& lock() noexcept { return lock_; }
    void run() { callback_(*this); }

    void* owner{};

private:
    friend class TimerQueue;
    Callback callback_{};
    Nanoseconds deadline_{};
    Timer* child_{};    ///< first of the heap nodes below
    Timer* sibling_{};  ///< next below the same parent
    Timer* previous_{}; ///< sibling before, or the parent of a first child
    Atomic<std::uint32_t> cpu_{};
    Spinlock<LockRank::timer> lock_; ///< held while somebody arms or stops it
    Atomic<bool> armed_{};
};

/// The armed timers of one CPU; `lock` protects everything.
class TimerQueue {
public:
    constexpr TimerQueue() noexcept = default;
    [[nodiscard]] Timer* first() const noexcept { return root_; }
    /// Precondition of insert: not armed; of remove: armed in this queue.
    void insert(Timer& timer, Nanoseconds deadline, CpuId cpu) noexcept;
    void remove(Timer& timer) noexcept;
    /// Moves an armed timer to a later time where that leaves the heap as it is; else false.
    [[nodiscard]] bool postpone(Timer& timer, Nanoseconds deadline) noexcept;
    /// Takes the first timer off if it is due.
    [[nodiscard]] Timer* pop_due(Nanoseconds now) noexcept;

    Spinlock<LockRank::timer_queue> lock;
    Nanoseconds programmed{}; ///< what the hardware was told; 0 = nothing
    Atomic<Timer*> running{}; ///< whose callback runs now

private:
    static Timer* meld(Timer* left, Timer* right) noexcept;
    static Timer* meld_siblings(Timer* first) noexcept;
    Timer* root_{};
};

/// Arms the timer on this CPU, replacing an earlier deadline wherever it was armed.
void set_timer(Timer& timer, Nanoseconds deadline);
/// The callback is not going to start any more, but may be running on another CPU.
void stop_timer(Timer& timer);
/// As stop_timer, and the callback is not running either. Not from a callback.
void stop_timer_and_wait(Timer& timer);
/// Runs what is due on this CPU and programs the hardware for the rest. Called on the way to the
/// guest after a timer interrupt, and by the idle loop.
void run_due_timers();

} // namespace cero
