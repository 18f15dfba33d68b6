// SPDX-License-Identifier: BSD-2-Clause
// RunQueue: the vCPUs of one CPU: the current one, those that wait, those that used up their cap.
#pragma once

#include <core/domain/domain.hpp>

namespace cero::sched {

inline constexpr std::uint64_t slice_ns = 5'000'000;      ///< longest run while others wait
inline constexpr std::uint64_t granularity_ns = 250'000;  ///< lead that justifies a switch
inline constexpr std::uint64_t wake_bonus_ns = 1'000'000; ///< most that a sleeper may be behind
inline constexpr std::uint64_t wake_lag_ns = 50'000'000;  ///< most that a sleeper may be ahead, but for its last slice
inline constexpr std::uint64_t pull_lead_ns = 10'000'000; ///< lead that justifies a migration
inline constexpr std::uint64_t cap_period_ns = 20'000'000;
inline constexpr std::uint64_t longest_debt = 1000; ///< periods after which a debt is forgotten
inline constexpr std::uint64_t no_time = ~0ull;

/// Weighted time: what a run of `ns` costs an entity. Weight 256 counts as it is.
[[nodiscard]] inline std::uint64_t weighted(std::uint64_t ns, const Domain& domain) noexcept {
    return ns * 256 / domain.weight;
}

/// a - b, or 0 if that is negative.
[[nodiscard]] constexpr std::uint64_t minus(std::uint64_t a, std::uint64_t b) noexcept { return a > b ? a - b : 0; }

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

    /// The lock is held around everything that follows.
    void enqueue(Vcpu& vcpu) noexcept {
        // From the back: who has just run belongs there.
        Vcpu* after = waiting.back();
        if (after == nullptr || after->sched.virtual_time <= vcpu.sched.virtual_time) {
            waiting.push_back(vcpu);
        } else {
            Vcpu* at = waiting.front();
            while (at->sched.virtual_time <= vcpu.sched.virtual_time) at = waiting.next(*at);
            waiting.insert_before(*at, vcpu);
        }
        vcpu.sched.queued = true;
        length.fetch_add(1, Order::relaxed);
        refresh_hint();
    }

    void dequeue(Vcpu& vcpu) noexcept {
        List::remove(vcpu);
        vcpu.sched.queued = false;
        if (vcpu.sched.parked)
            vcpu.sched.parked = false;
        else
            length.fetch_sub(1, Order::relaxed);
        refresh_hint();
    }

    /// Brings an arriving vCPU's virtual time to within [floor - behind, floor + wake_lag_ns + a slice of its own]:
    /// what it may have gained or lost elsewhere is not carried here.
    void admit(Vcpu& vcpu, std::uint64_t behind) const noexcept {
        const std::uint64_t now = floor.load(Order::relaxed);
        const std::uint64_t least = minus(now, behind);
        const std::uint64_t most = now + wake_lag_ns + weighted(slice_ns, *vcpu.domain);
        std::uint64_t& time = vcpu.sched.virtual_time;
        time = time < least ? least : time > most ? most : time;
    }

    /// Whether the cap lets the vCPU run. Each period brings a budget; what is left of it is lost, a debt is carried.
    static bool within_cap(Vcpu& vcpu, std::uint64_t now) noexcept {
        const Domain& domain = *vcpu.domain;
        if (domain.cap == 0) return true;
        SchedEntity& entity = vcpu.sched;
        if (const std::uint64_t period = now / cap_period_ns; period > entity.period) {
            const auto quota = static_cast<std::int64_t>(cap_period_ns * domain.cap / 100 / domain.vcpu_limit);
            const std::uint64_t passed = period - entity.period;
            if (passed < longest_debt) entity.budget += quota * static_cast<std::int64_t>(passed);
            if (passed >= longest_debt || entity.budget > quota) entity.budget = quota;
            entity.period = period;
        }
        return entity.budget > 0;
    }

    /// Puts the vCPU aside until the end of the period, for which the caller arms the tick; unpark() looks at it again.
    void park(Vcpu& vcpu) noexcept {
        parked.push_back(vcpu);
        vcpu.sched.queued = vcpu.sched.parked = true;
    }

    /// Charges the current vCPU for the time since it was last charged.
    void account(Vcpu& vcpu, std::uint64_t now) noexcept {
        SchedEntity& entity = vcpu.sched;
        const std::uint64_t ran = minus(now, entity.started);
        entity.started = now;
        if (vcpu.is_idle) {
            idle_ns += ran;
            return;
        }
        const Domain& domain = *vcpu.domain;
        entity.virtual_time += weighted(ran, domain);
        static_cast<void>(within_cap(vcpu, now));
        if (domain.cap != 0) entity.budget -= static_cast<std::int64_t>(ran);
        const std::uint64_t first = front_time.load(Order::relaxed);
        const std::uint64_t least = first < entity.virtual_time ? first : entity.virtual_time;
        if (least > floor.load(Order::relaxed)) floor.store(least, Order::relaxed);
    }

    /// Puts vCPUs back that may run again. Returns the end of the period if some stay parked.
    std::uint64_t unpark(std::uint64_t now) noexcept {
        Vcpu* next = nullptr;
        for (Vcpu* at = parked.front(); at != nullptr; at = next) {
            next = parked.next(*at);
            if (!within_cap(*at, now)) continue;
            List::remove(*at);
            at->sched.parked = false;
            enqueue(*at);
        }
        return parked.front() == nullptr ? no_time : (now / cap_period_ns + 1) * cap_period_ns;
    }

    void refresh_hint() noexcept {
        Vcpu* first = waiting.front();
        front_time.store(first == nullptr ? no_time : first->sched.virtual_time, Order::relaxed);
    }
};

} // namespace cero::sched
