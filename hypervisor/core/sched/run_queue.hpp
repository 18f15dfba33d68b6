// SPDX-License-Identifier: BSD-2-Clause
// RunQueue: the vCPUs of one CPU: the current one, those that wait, those that used up their cap.
#pragma once

#include <core/domain/domain.hpp>

namespace cero::sched {

inline constexpr std::uint64_t slice_ns = 5'000'000;      ///< longest run while others wait
inline constexpr std::uint64_t granularity_ns = 250'000;  ///< lead that justifies a switch
inline constexpr std::uint64_t wake_bonus_ns = 1'000'000; ///< most that a sleeper may be behind
inline constexpr std::uint64_t wake_lag_ns = 50'000'000;  ///< most that a sleeper may be ahead
inline constexpr std::uint64_t pull_lead_ns = 10'000'000; ///< lead that justifies a migration
inline constexpr std::uint64_t cap_period_ns = 20'000'000;
inline constexpr std::uint64_t no_time = ~0ull;

/// Weighted time: what a run of `ns` costs an entity. Weight 256 counts as it is.
[[nodiscard]] inline std::uint64_t weighted(std::uint64_t ns, const Domain& domain) noexcept {
    return ns * 256 / domain.weight;
}

struct RunQueue {
    using List = IntrusiveList<Vcpu, &Vcpu::run_link>;

    Spinlock<LockRank::sched> lock;
    Vcpu* current{};
    Vcpu* idle{};
    List waiting; ///< by virtual time
    List parked;
    /// Virtual time that everybody here has reached; never falls. Others read it without the lock.
    Atomic<std::uint64_t> floor{};
    Atomic<std::uint64_t> front_time{no_time}; ///< virtual time of the first that waits; a hint
    Atomic<std::uint32_t> length{};            ///< number that wait; a hint
    std::uint64_t idle_ns{};
    Timer tick;

    /// Lock held.
    void enqueue(Vcpu& vcpu) noexcept;
    void dequeue(Vcpu& vcpu) noexcept;
    /// Brings an arriving vCPU's virtual time to within [floor - behind, floor + wake_lag_ns]: what
    /// it may have gained or lost elsewhere is not carried here.
    void admit(Vcpu& vcpu, std::uint64_t behind) const noexcept;
    /// Charges the current vCPU for the time since it was last charged.
    void account(Vcpu& vcpu, std::uint64_t now) noexcept;
    /// Puts vCPUs back whose cap period is over. Returns the end of the period if some stay parked.
    std::uint64_t unpark(std::uint64_t now) noexcept;
    void refresh_hints() noexcept;
};

} // namespace cero::sched
