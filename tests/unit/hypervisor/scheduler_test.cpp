// SPDX-License-Identifier: BSD-2-Clause
// The scheduler as a simulation: virtual CPUs that burn, or run in bursts, on 1, 2 and 4 CPUs.
// Checks shares, caps, affinity, and how long those wait that sleep mostly.
#include <core/domain/domain.hpp>
#include <core/sched/scheduler.hpp>

#include "../../support/host_arch/host_arch.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace cero {
namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t never = ~0ull;
constexpr std::uint64_t sched_period = 20 * ms; // of caps

/// One simulated guest CPU: `burst` 0 = burns for ever, else runs that long and sleeps `pause`.
struct Guest {
    Domain* domain;
    Vcpu* vcpu;
    std::uint64_t burst;
    std::uint64_t pause;
    std::uint64_t left{};     ///< of the burst
    std::uint64_t wake_at{};  ///< when asleep
    std::uint64_t woken_at{}; ///< when it last became runnable; 0 = it has run since
    std::uint64_t ran{};
    std::uint64_t worst_wait{};
};

class Scheduler : public testing::Test {
protected:
    void SetUp() override { host::boot(); }
    void TearDown() override {
        for (auto& guest : guests_)
            sched::pause(*guest->domain);
        settle();
        for (auto& guest : guests_)
            EXPECT_TRUE(destroy_domain(arch::current_vcpu(), *guest->domain));
        host::use_cpus(1);
    }

    Guest& add(std::uint16_t weight, std::uint64_t burst = 0, std::uint64_t pause = 0,
               std::uint16_t cap = 0) {
        const DomainId id{static_cast<std::uint16_t>(guests_.size() + 1)};
        auto domain = create_domain(id, {});
        EXPECT_TRUE(domain);
        EXPECT_TRUE(create_vcpus(**domain));
        EXPECT_TRUE(sched::set_share(**domain, weight, cap));
        auto guest = std::make_unique<Guest>();
        guest->domain = *domain;
        guest->vcpu = (*domain)->vcpus[0];
        guest->burst = guest->left = burst;
        guest->pause = pause;
        guest->woken_at = host::state().now;
        guest->vcpu->flags.fetch_and(~vcpu_flag::down, Order::relaxed);
        (*domain)->paused_by_controller = false;
        sched::unpause(**domain);
        guests_.push_back(std::move(guest));
        return *guests_.back();
    }

    /// Lets every CPU do what it was asked to.
    static void settle() {
        for (bool busy = true; busy;) {
            busy = false;
            for (unsigned cpu = 0; cpu < host::state().online; ++cpu) {
                host::become(cpu);
                busy = busy || arch::this_cpu().softirqs.load(Order::relaxed) != 0;
                host::leave_hypervisor();
            }
        }
        host::become(0);
    }

    bool runs(const Guest& guest) const { return guest.vcpu->is_running.load(Order::relaxed); }

    std::uint64_t next_event() const {
        std::uint64_t next = never;
        for (unsigned cpu = 0; cpu < host::state().online; ++cpu)
            if (host::state().deadline[cpu] != 0)
                next = std::min(next, host::state().deadline[cpu]);
        for (const auto& guest : guests_) {
            if (guest->wake_at != 0)
                next = std::min(next, guest->wake_at);
            else if (guest->burst != 0 && runs(*guest))
                next = std::min(next, host::state().now + guest->left);
        }
        return next;
    }

    void advance(std::uint64_t to) {
        const std::uint64_t step = to > host::state().now ? to - host::state().now : 0;
        for (auto& guest : guests_) {
            if (!runs(*guest))
                continue;
            guest->ran += step;
            guest->left -= std::min(guest->left, step);
        }
        host::state().now += step;
    }

    void act() {
        const std::uint64_t now = host::state().now;
        for (auto& guest : guests_) {
            if (guest->wake_at != 0 && guest->wake_at <= now) {
                guest->wake_at = 0;
                guest->left = guest->burst;
                guest->woken_at = now;
                host::become(static_cast<unsigned>(random_() % host::state().online));
                sched::unblock(*guest->vcpu);
            } else if (guest->burst != 0 && guest->left == 0 && guest->wake_at == 0 &&
                       runs(*guest)) {
                host::become(guest->vcpu->last_cpu().raw());
                guest->vcpu->flags.fetch_or(vcpu_flag::blocked, Order::relaxed);
                arch::raise_softirq(arch::Softirq::schedule);
                guest->wake_at = now + guest->pause;
            }
        }
        for (unsigned cpu = 0; cpu < host::state().online; ++cpu) {
            host::become(cpu);
            if (host::state().deadline[cpu] != 0 && host::state().deadline[cpu] <= now)
                arch::raise_softirq(arch::Softirq::timer);
        }
        settle();
        for (auto& guest : guests_) {
            if (guest->woken_at == 0 || !runs(*guest))
                continue;
            guest->worst_wait = std::max(guest->worst_wait, now - guest->woken_at);
            guest->woken_at = 0;
        }
    }

    void simulate(std::uint64_t span) {
        const std::uint64_t end = host::state().now + span;
        settle();
        while (host::state().now < end) {
            advance(std::min(next_event(), end));
            act();
        }
    }

    void forget() {
        for (auto& guest : guests_)
            guest->ran = guest->worst_wait = 0;
    }

    std::vector<std::unique_ptr<Guest>> guests_;
    std::mt19937 random_{1};
};

void expect_share(const Guest& guest, double wanted, std::uint64_t span) {
    const double got = static_cast<double>(guest.ran) / static_cast<double>(span);
    EXPECT_NEAR(got, wanted, wanted * 0.05) << "domain " << guest.domain->id.raw();
}

TEST_F(Scheduler, EqualWeightsGetEqualShares) {
    for (unsigned n = 0; n < 3; ++n)
        add(256);
    simulate(3000 * ms);
    for (auto& guest : guests_)
        expect_share(*guest, 1.0 / 3, 3000 * ms);
}

TEST_F(Scheduler, SharesFollowWeights) {
    const Guest& light = add(128);
    const Guest& normal = add(256);
    const Guest& heavy = add(1024);
    simulate(5000 * ms);
    expect_share(light, 128.0 / 1408, 5000 * ms);
    expect_share(normal, 256.0 / 1408, 5000 * ms);
    expect_share(heavy, 1024.0 / 1408, 5000 * ms);
}

TEST_F(Scheduler, SleepersAreServedWhileOthersBurn) {
    const Guest& first = add(256);
    const Guest& second = add(256);
    const Guest& server = add(256, 200'000, 2 * ms); // 200 us of work each 2 ms
    simulate(100 * ms);
    forget();
    simulate(4000 * ms);
    EXPECT_LT(server.worst_wait, 1 * ms);
    EXPECT_GT(server.ran, 4000 * ms / 12);
    EXPECT_NEAR(static_cast<double>(first.ran), static_cast<double>(second.ran), 4000 * ms * 0.03);
}

TEST_F(Scheduler, SleepingDoesNotBankTime) {
    const Guest& burner = add(256);
    add(256, 3000 * ms, 1000 * ms).wake_at = 0;
    Guest& late = *guests_[1];
    late.vcpu->flags.fetch_or(vcpu_flag::blocked, Order::relaxed);
    sched::stop(*late.vcpu);
    late.wake_at = host::state().now + 2000 * ms;
    simulate(2000 * ms);
    forget();
    simulate(1000 * ms);
    expect_share(burner, 0.5, 1000 * ms);
    expect_share(late, 0.5, 1000 * ms);
}

TEST_F(Scheduler, AloneItIsNotInterruptedForOthers) {
    const Guest& alone = add(256);
    simulate(1000 * ms);
    EXPECT_EQ(alone.ran, 1000 * ms);
}

TEST_F(Scheduler, IdleMachineHasNoTimer) {
    add(256, 1 * ms, 1000 * ms);
    simulate(20 * ms);
    // The guest sleeps: at most the tick that was armed for it may be left, and it is not renewed.
    EXPECT_EQ(host::state().deadline[0], 0u);
}

TEST_F(Scheduler, ThreeBurnersShareTwoCpus) {
    host::use_cpus(2);
    for (unsigned n = 0; n < 3; ++n)
        add(256);
    simulate(500 * ms);
    forget();
    simulate(6000 * ms);
    for (auto& guest : guests_)
        expect_share(*guest, 2.0 / 3, 6000 * ms);
}

TEST_F(Scheduler, WeightsHoldAcrossFourCpus) {
    host::use_cpus(4);
    for (unsigned n = 0; n < 4; ++n)
        add(256);
    for (unsigned n = 0; n < 4; ++n)
        add(512);
    simulate(500 * ms);
    forget();
    simulate(6000 * ms);
    for (unsigned n = 0; n < 8; ++n)
        expect_share(*guests_[n], n < 4 ? 1.0 / 3 : 2.0 / 3, 6000 * ms);
}

TEST_F(Scheduler, NoCpuIdlesWhileAnybodyWaits) {
    host::use_cpus(4);
    for (unsigned n = 0; n < 6; ++n)
        add(256, (n + 1) * ms, (n % 3) * ms + 500'000);
    add(256);
    add(256);
    add(256);
    add(256);
    simulate(2000 * ms);
    std::uint64_t total = 0;
    for (auto& guest : guests_)
        total += guest->ran;
    EXPECT_GT(total, 4 * 2000 * ms * 99 / 100);
}

TEST_F(Scheduler, CapHoldsOnAnIdleMachine) {
    const Guest& capped = add(256, 0, 0, 25);
    simulate(4000 * ms);
    expect_share(capped, 0.25, 4000 * ms);
}

TEST_F(Scheduler, CapHoldsForWhoSleepsBeforeItsTick) {
    const Guest& capped = add(256, 95'000, 10'000, 10); // asleep when its tick of 100 us comes
    simulate(4000 * ms);
    expect_share(capped, 0.10, 4000 * ms);
    const Guest& burner = add(256);
    simulate(100 * ms);
    forget();
    simulate(4000 * ms);
    expect_share(capped, 0.10, 4000 * ms);
    expect_share(burner, 0.90, 4000 * ms);
}

TEST_F(Scheduler, CapCarriesTheDebtOfALongStretch) {
    const Guest& tiny = add(256, 0, 0, 1); // 0.2 ms per period
    tiny.vcpu->sched.budget = -4'000'000;  // as after 4 ms that nobody could interrupt
    tiny.vcpu->sched.period = host::state().now / sched_period;
    simulate(400 * ms);
    EXPECT_LE(tiny.ran, 1 * ms);
    simulate(4000 * ms);
    EXPECT_NEAR(static_cast<double>(tiny.ran), 40.0 * ms, 2.0 * ms);
}

TEST_F(Scheduler, SleepingForAnInstantForgivesNoDebt) {
    const Guest& light = add(4, 4'900'000, 10'000); // each burst costs it 314 ms of virtual time
    const Guest& burner = add(256);
    simulate(500 * ms);
    forget();
    simulate(20'000 * ms);
    EXPECT_LT(light.ran, 20'000 * ms * 2 / 100);
    EXPECT_GT(light.ran, 20'000 * ms / 100);
    EXPECT_EQ(light.ran + burner.ran, 20'000 * ms);
}

TEST_F(Scheduler, AffinityIsObeyed) {
    host::use_cpus(2);
    const Guest& pinned = add(256);
    const Guest& other = add(256);
    const Guest& third = add(256);
    ASSERT_TRUE(sched::set_affinity(*pinned.vcpu, CpuMask::of(CpuId{1})));
    ASSERT_TRUE(sched::set_affinity(*other.vcpu, CpuMask::of(CpuId{1})));
    simulate(100 * ms);
    forget();
    simulate(2000 * ms);
    EXPECT_EQ(pinned.vcpu->last_cpu(), CpuId{1});
    EXPECT_EQ(other.vcpu->last_cpu(), CpuId{1});
    EXPECT_EQ(third.vcpu->last_cpu(), CpuId{0});
    expect_share(pinned, 0.5, 2000 * ms);
    expect_share(other, 0.5, 2000 * ms);
    expect_share(third, 1.0, 2000 * ms);
    EXPECT_EQ(sched::set_affinity(*third.vcpu, CpuMask{1ull << 40}).error(), Errno::inval);
}

TEST_F(Scheduler, ACpuThatWasWokenForNothingIsFoundAgain) {
    host::use_cpus(2);
    const Guest& first = add(256);
    simulate(10 * ms);
    const Guest& second = add(256); // for the idle CPU, which is poked ...
    const CpuId poked = second.vcpu->last_cpu();
    EXPECT_NE(poked, first.vcpu->last_cpu());
    sched::pause(*second.domain); // ... but there is nothing to run any more
    settle();
    const Guest& third = add(256);
    EXPECT_EQ(third.vcpu->last_cpu(), poked);
    simulate(1000 * ms);
    EXPECT_GT(first.ran + third.ran, 1990 * ms);
}

TEST_F(Scheduler, PauseStopsAndUnpauseGoesOn) {
    const Guest& first = add(256);
    const Guest& second = add(256);
    simulate(100 * ms);
    host::become(0);
    sched::pause(*first.domain);
    settle();
    forget();
    simulate(500 * ms);
    EXPECT_EQ(first.ran, 0u);
    EXPECT_EQ(second.ran, 500 * ms);
    EXPECT_EQ(first.vcpu->runstate.state, static_cast<unsigned>(CERO_RUNSTATE_offline));
    sched::unpause(*first.domain);
    forget();
    simulate(1000 * ms);
    expect_share(first, 0.5, 1000 * ms);
}

TEST_F(Scheduler, RunstateAddsUpToTheTime) {
    const std::uint64_t start = host::state().now;
    const Guest& burner = add(256);
    add(256);
    add(256, 1 * ms, 3 * ms);
    simulate(1000 * ms);
    for (auto& guest : guests_) {
        const cero_vcpu_runstate_info& info = guest->vcpu->runstate;
        std::uint64_t sum = 0;
        for (const std::uint64_t time : info.time)
            sum += time;
        EXPECT_EQ(sum, info.state_entry_time - start);
    }
    EXPECT_EQ(sched::cpu_time(*burner.vcpu).raw(), burner.ran);
}

} // namespace
} // namespace cero
