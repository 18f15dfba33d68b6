// SPDX-License-Identifier: BSD-2-Clause
// Timer: a deadline, with a node of the pairing heap that its CPU keeps.
#pragma once

#include <core/lock.hpp>
#include <core/types.hpp>

namespace cero {

/// One deadline. Its owner keeps it in place while it is armed. The callback runs on the CPU that
/// armed it, on the way out of the hypervisor, with no lock held, and may arm it again.
class Timer {
public:
    using Callback = void (*)(Timer&);
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
    friend struct TimerQueue;
    Callback callback_{};
    Nanoseconds deadline_{};
    Timer* child_{};    ///< first of the heap nodes below
    Timer* sibling_{};  ///< next below the same parent
    Timer* previous_{}; ///< sibling before, or the parent of a first child
    Atomic<std::uint32_t> cpu_{};
    Spinlock<LockRank::timer> lock_; ///< held while somebody arms or stops it
    Atomic<bool> armed_{};
};

/// Arms the timer on this CPU, replacing an earlier deadline wherever it was armed.
void set_timer(Timer& timer, Nanoseconds deadline);
/// The callback is not going to start any more, but may be running on another CPU.
void stop_timer(Timer& timer);
/// As stop_timer, and the callback is not running either. Not from a callback, which arms it at most once more.
void stop_timer_and_wait(Timer& timer);
/// Runs what is due on this CPU and programs the hardware for the rest. Called on the way to the
/// guest after a timer interrupt, and by the idle loop.
void run_due_timers();

} // namespace cero
