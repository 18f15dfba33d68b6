// SPDX-License-Identifier: BSD-2-Clause
// Spinlock with a rank. Interrupts are off in the hypervisor, so there is no irq-saving variant.
#pragma once

#include <cero/lib/atomic.hpp>

#include <cstdint>

namespace cero {

namespace arch {
/// Answers shootdowns and calls of other CPUs; everything that spins calls it, for with interrupts off it would
/// deadlock them. Without `calls` these wait.
void service_remote_requests(bool calls = true) noexcept;
void relax() noexcept;
} // namespace arch

/// Locks are taken in ascending order. Two locks of one rank only where the name says how.
enum class LockRank : std::uint8_t {
    control,     ///< one domctl at a time
    domain,      ///< one domain's settings (handle, vCPU bring-up)
    paging,      ///< hv-mm: page-table updates
    grant,       ///< hv-mm: grant tables; two of them by ascending slot
    binding,     ///< connecting and closing interdomain event channels
    event,       ///< an event table; two of them by ascending slot
    irq,         ///< pirq routing
    irq_line,    ///< hv-arch: routed interrupts
    irq_chip,    ///< hv-arch: registers of interrupt controllers, PCI configuration ports
    sched,       ///< a run queue; two of them by ascending CPU, or tried
    timer,       ///< one timer
    timer_queue, ///< the timers of a CPU
    table,       ///< the domain table
    frame,       ///< the frame allocator
    console,     ///< the console, taken last from anywhere
    count
};

#ifdef CERO_CHECK_LOCKS
void note_lock_taken(LockRank rank);
void note_lock_released(LockRank rank);
#else
inline void note_lock_taken(LockRank) {}
inline void note_lock_released(LockRank) {}
#endif

/// Waits for another CPU.
template <typename Condition> void spin_while(Condition&& condition) noexcept {
    while (condition()) {
        arch::service_remote_requests();
        arch::relax();
    }
}

template <LockRank Rank> class Spinlock {
public:
    void lock() noexcept {
        while (word_.exchange(1, Order::acquire) != 0)
            [[unlikely]] spin_while([this] { return word_.load(Order::relaxed) != 0; });
        note_lock_taken(Rank);
    }
    [[nodiscard]] bool try_lock() noexcept {
        if (word_.exchange(1, Order::acquire) != 0) return false;
        note_lock_taken(Rank);
        return true;
    }
    void unlock() noexcept {
        note_lock_released(Rank);
        word_.store(0, Order::release);
    }

private:
    Atomic<std::uint32_t> word_;
};

template <typename Lock> class [[nodiscard]] LockGuard {
public:
    explicit LockGuard(Lock& lock) noexcept : lock_{lock} { lock_.lock(); }
    ~LockGuard() { lock_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

private:
    Lock& lock_;
};

} // namespace cero
