// SPDX-License-Identifier: BSD-2-Clause
// Readiness: PollQueue (where an object announces it) and PollTable (where a poll collects it).
#pragma once

#include <kernel/sync.hpp>

#include <cero/lib/intrusive_list.hpp>

#include <cstdint>

namespace kernel {

/// Bits of poll(2) and epoll(7); the values are the ABI's.
namespace poll_event {
inline constexpr std::uint32_t in = 0x001;
inline constexpr std::uint32_t pri = 0x002;
inline constexpr std::uint32_t out = 0x004;
inline constexpr std::uint32_t err = 0x008;
inline constexpr std::uint32_t hup = 0x010;
inline constexpr std::uint32_t nval = 0x020;
inline constexpr std::uint32_t rdnorm = 0x040;
inline constexpr std::uint32_t rdband = 0x080;
inline constexpr std::uint32_t wrnorm = 0x100;
inline constexpr std::uint32_t wrband = 0x200;
inline constexpr std::uint32_t rdhup = 0x2000;
inline constexpr std::uint32_t readable = in | rdnorm;
inline constexpr std::uint32_t writable = out | wrnorm;
} // namespace poll_event

class PollQueue;

/// One interest in a PollQueue. `triggered` may run in event context and must not sleep.
class PollObserver {
public:
    PollObserver() noexcept = default;
    PollObserver(const PollObserver&) = delete;
    PollObserver& operator=(const PollObserver&) = delete;
    /// `events` holds the bits that may have become true; 0 means "look again".
    virtual void triggered(std::uint32_t events) noexcept = 0;
    /// The queue goes away before the observer does.
    virtual void queue_gone() noexcept {}

    PollQueue* queue{};
    cero::ListLink queue_link;

protected:
    ~PollObserver() = default;
};

/// Where the sleepers and the pollers of one object wait: a WaitQueue plus poll observers.
class PollQueue {
public:
    PollQueue() noexcept = default;
    ~PollQueue();
    PollQueue(const PollQueue&) = delete;
    PollQueue& operator=(const PollQueue&) = delete;

    /// Wakes every sleeper and tells every observer. Any context.
    void notify(std::uint32_t events) noexcept;
    void add(PollObserver& observer) noexcept;
    void remove(PollObserver& observer) noexcept;

    /// For blocking reads and writes of the object: `queue.waiters.wait_interruptible(...)`.
    WaitQueue waiters;

private:
    Spinlock lock_;
    cero::IntrusiveList<PollObserver, &PollObserver::queue_link> observers_;
};

/// What FileOps::poll() reports its queues to. Implemented by poll/select and by epoll.
class PollTable {
public:
    /// Called once for each queue whose notification may change the answer of poll().
    virtual void watch(PollQueue& queue) noexcept = 0;

protected:
    ~PollTable() = default;
};

} // namespace kernel
