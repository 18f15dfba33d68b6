// SPDX-License-Identifier: BSD-2-Clause
// Timer and TimerQueue: deadlines of one CPU in an intrusive pairing heap.
#pragma once

#include <core/lock.hpp>
#include <core/types.hpp>

namespace cero {

/// One deadline. Its owner keeps it in place while it is armed; the callback runs on the CPU that
/// armed it, on the way out of the hypervisor, with no lock held, and may arm it again.
class Timer {
public:
    using Callback = void (*)(Timer&);
    constexpr Timer() noexcept = default;
    constexpr Timer(Callback callback, void* who) noexcept : owner{who}, callback_{callback} {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    [[nodiscard]] Nanoseconds deadline() const noexcept { return deadline_; }
    void bind(Callback callback, void* new_owner) noexcept {
        callback_ = callback;
        owner = new_owner;
    }
    void* owner{};

private:
    friend class TimerQueue;
    Callback callback_{};
    Nanoseconds deadline_{};
    Timer* child_{};    ///< first of the heap nodes below
    Timer* sibling_{};  ///< next of the same parent
    Timer* previous_{}; ///< sibling before, or the parent of a first child
    std::uint32_t cpu_{};
    bool armed_{};
};

/// The armed timers of one CPU. All members but arm() and cancel() through `set_timer` and
/// `stop_timer` are for that CPU alone.
class TimerQueue {
public:
    constexpr TimerQueue() noexcept = default;
    [[nodiscard]] Timer* first() const noexcept { return root_; }
    /// Precondition of insert: not armed; of remove: armed in this queue. Lock held.
    void insert(Timer& timer, Nanoseconds deadline, CpuId cpu) noexcept;
    void remove(Timer& timer) noexcept;
    /// Takes the first timer if it is due; its callback is left to the caller.
    Timer* pop_due(Nanoseconds now) noexcept;
    static void run(Timer& timer) { timer.callback_(timer); }
    [[nodiscard]] static bool is_armed(const Timer& timer) noexcept {
        return __atomic_load_n(&timer.armed_, __ATOMIC_ACQUIRE);
    }
    [[nodiscard]] static CpuId cpu_of(const Timer& timer) noexcept {
        return CpuId{__atomic_load_n(&timer.cpu_, __ATOMIC_RELAXED)};
    }

    Spinlock<LockRank::timer> lock;
    Nanoseconds programmed{}; ///< what the hardware was told; 0 = nothing

private:
    static Timer* meld(Timer* left, Timer* right) noexcept;
    static Timer* meld_siblings(Timer* first) noexcept;
    Timer* root_{};
};

/// Arms the timer on this CPU, replacing an earlier deadline wherever it was armed.
void set_timer(Timer& timer, Nanoseconds deadline);
/// After this the callback is not going to start (it may be running on another CPU).
void stop_timer(Timer& timer);
/// Runs what is due on this CPU and programs the hardware for the rest. Called on the way to the
/// guest after a timer interrupt, and by the idle loop.
void run_due_timers();

} // namespace cero
