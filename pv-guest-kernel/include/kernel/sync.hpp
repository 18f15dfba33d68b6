// SPDX-License-Identifier: BSD-2-Clause
// Locks and sleeping. Lock order: Mutex before Spinlock; never sleep with a Spinlock held. The
// kernel is not preempted inside the kernel: a thread gives up its CPU only where it sleeps.
#pragma once

#include <kernel/types.hpp>

#include <cero/lib/atomic.hpp>
#include <cero/lib/intrusive_list.hpp>

namespace kernel {

struct Thread;

/// Masks event delivery on this vCPU for its lifetime; nests.
class [[nodiscard]] EventGuard {
public:
    EventGuard() noexcept;
    ~EventGuard();
    EventGuard(const EventGuard&) = delete;
    EventGuard& operator=(const EventGuard&) = delete;

private:
    bool was_masked_;
};

/// Short critical sections shared with event context or other vCPUs.
class Spinlock {
public:
    constexpr Spinlock() noexcept = default;
    void lock() noexcept;
    void unlock() noexcept;

private:
    cero::Atomic<std::uint32_t> held_{0};
};

/// Holds a Spinlock with events masked.
class [[nodiscard]] SpinGuard {
public:
    explicit SpinGuard(Spinlock& lock) noexcept : lock_{lock} { lock_.lock(); }
    ~SpinGuard() { lock_.unlock(); }
    SpinGuard(const SpinGuard&) = delete;
    SpinGuard& operator=(const SpinGuard&) = delete;

private:
    EventGuard events_;
    Spinlock& lock_;
};

/// One sleeper's entry in one WaitQueue. poll() implementations link several of them per thread.
struct Waiter {
    cero::ListLink link{};
    Thread* thread{};
    /// Runs (event context, queue locked) instead of waking `thread` when set; returns false to
    /// stay asleep.
    bool (*on_wake)(Waiter&){};
    void* context{};
};

class WaitQueue {
public:
    WaitQueue() noexcept = default;

    /// Thread context. Each sleeps until predicate() holds; it is evaluated by the sleeper, with no
    /// lock held and possibly often. A waker changes the state first, then wakes.
    template <typename Predicate>
    void wait(Predicate predicate) {
        Waiter waiter;
        for (prepare(waiter, false); !predicate(); prepare(waiter, false))
            sleep();
        finish(waiter);
    }
    /// Errno::restart when a signal is to be handled (turned into EINTR or a restarted call on the
    /// way to user mode).
    template <typename Predicate>
    [[nodiscard]] Status wait_interruptible(Predicate predicate) {
        return wait_until_interruptible(no_deadline, predicate);
    }
    /// False if the deadline (monotonic_ns) passed first.
    template <typename Predicate>
    [[nodiscard]] bool wait_until(Nanoseconds deadline, Predicate predicate) {
        Waiter waiter;
        bool in_time = true;
        for (prepare(waiter, false); !predicate(); prepare(waiter, false)) {
            if (!sleep_until(deadline)) {
                in_time = predicate();
                break;
            }
        }
        finish(waiter, in_time);
        return in_time;
    }
    /// Errno::timedout when the deadline passed, Errno::restart when a signal is pending.
    template <typename Predicate>
    [[nodiscard]] Status wait_until_interruptible(Nanoseconds deadline, Predicate predicate) {
        Waiter waiter;
        Errno error = Errno::ok;
        for (prepare(waiter, true); !predicate(); prepare(waiter, true)) {
            if (interrupted()) {
                error = Errno::restart;
                break;
            }
            if (!sleep_until(deadline)) {
                if (!predicate())
                    error = Errno::timedout;
                break;
            }
        }
        finish(waiter, error == Errno::ok);
        return error;
    }

    /// Any context.
    void wake_one() noexcept;
    void wake_all() noexcept;
    [[nodiscard]] bool has_waiters() noexcept { return !waiters_.empty(); }

    /// For poll: links a waiter that the caller prepared, without sleeping.
    void add(Waiter& waiter) noexcept;
    void remove(Waiter& waiter) noexcept;

    static constexpr Nanoseconds no_deadline = ~Nanoseconds{0};

    /// The pieces of the loops above: marks the current thread as going to sleep (so that a wake
    /// from now on is not lost), sleeps, and undoes.
    void prepare(Waiter& waiter, bool interruptible) noexcept;
    void finish(Waiter& waiter, bool satisfied = true) noexcept;
    static void sleep() noexcept;
    static bool sleep_until(Nanoseconds deadline) noexcept; ///< false: the deadline passed
    static bool interrupted() noexcept;

private:
    Spinlock lock_;
    cero::IntrusiveList<Waiter, &Waiter::link> waiters_;
};

/// Sleeping lock; thread context only, not recursive.
class Mutex {
public:
    Mutex() noexcept = default;
    void lock() noexcept;
    [[nodiscard]] bool try_lock() noexcept;
    void unlock() noexcept;
    [[nodiscard]] bool held_by_current() const noexcept;

private:
    Thread* owner_{};
    WaitQueue queue_;
};

class [[nodiscard]] MutexGuard {
public:
    explicit MutexGuard(Mutex& mutex) noexcept : mutex_{mutex} { mutex_.lock(); }
    ~MutexGuard() { mutex_.unlock(); }
    MutexGuard(const MutexGuard&) = delete;
    MutexGuard& operator=(const MutexGuard&) = delete;

private:
    Mutex& mutex_;
};

/// Counting semaphore; up() from any context.
class Semaphore {
public:
    explicit Semaphore(std::uint32_t count = 0) noexcept : count_{count} {}
    void down() noexcept;
    [[nodiscard]] bool try_down() noexcept;
    [[nodiscard]] bool down_until(Nanoseconds deadline) noexcept;
    void up() noexcept;

private:
    Spinlock lock_;
    std::uint32_t count_;
    WaitQueue queue_;
};

} // namespace kernel
