// SPDX-License-Identifier: BSD-2-Clause
// Event channels: each operation's rules, then random operations of three domains against a model.
#include <core/domain/domain.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/hypercall/handlers.hpp>
#include <core/sched/scheduler.hpp>

#include "../../support/host_arch/host_arch.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace cero {
namespace {

class Events : public testing::Test {
protected:
    void SetUp() override {
        host::boot();
        idle_ = &arch::current_vcpu();
        free_before_ = allocator_free_frames();
    }
    void TearDown() override {
        host::run_as(*idle_);
        for (Domain* domain : domains_)
            if (!domain->is_control) {
                EXPECT_TRUE(destroy_domain(*idle_, *domain));
            }
        if (control_ == nullptr) {
            EXPECT_EQ(allocator_free_frames(), free_before_);
        }
    }
    Domain& add(std::uint16_t id, std::uint32_t vcpus = 2, std::uint32_t ports = 4096) {
        auto domain = create_domain(DomainId{id},
                                    {.is_control = id == 0, .vcpus = vcpus, .event_ports = ports});
        EXPECT_TRUE(domain);
        EXPECT_TRUE(create_vcpus(**domain));
        domains_.push_back(*domain);
        if (id == 0)
            control_ = *domain;
        return **domain;
    }
    template <typename Op>
    Errno call(Vcpu& vcpu, std::uint32_t command, Op& op) {
        host::run_as(vcpu);
        const Errno error =
            event_channel_op(vcpu, command, reinterpret_cast<std::uint64_t>(&op)).error();
        host::run_as(*idle_);
        return error;
    }
    std::uint32_t alloc(Domain& domain, std::uint16_t remote) {
        cero_evtchn_alloc_unbound op{CERO_DOMID_SELF, remote, 0};
        EXPECT_EQ(call(*domain.vcpus[0], CERO_EVTCHNOP_alloc_unbound, op), Errno::ok);
        return op.port;
    }
    std::uint32_t connect(Domain& domain, Domain& remote, std::uint32_t remote_port) {
        cero_evtchn_bind_interdomain op{remote.id.raw(), 0, remote_port, 0};
        EXPECT_EQ(call(*domain.vcpus[0], CERO_EVTCHNOP_bind_interdomain, op), Errno::ok);
        return op.local_port;
    }
    Errno send(Domain& domain, std::uint32_t port) {
        cero_evtchn_send op{port};
        return call(*domain.vcpus[0], CERO_EVTCHNOP_send, op);
    }
    cero_evtchn_status status(Domain& domain, std::uint32_t port) {
        cero_evtchn_status op{};
        op.dom = CERO_DOMID_SELF;
        op.port = port;
        EXPECT_EQ(call(*domain.vcpus[0], CERO_EVTCHNOP_status, op), Errno::ok);
        return op;
    }
    static bool pending(Domain& domain, std::uint32_t port) {
        return event::is_pending(domain, port);
    }
    /// As a guest would: forgets everything that is pending.
    static void drain(Domain& domain) {
        for (auto& word : domain.shared_info->evtchn_pending)
            word = 0;
        domain.for_each_vcpu([](Vcpu& vcpu) {
            vcpu.arch.info->evtchn_pending_sel = 0;
            vcpu.arch.info->evtchn_upcall_pending = 0;
        });
    }

    Vcpu* idle_{};
    Domain* control_{};
    std::uint64_t free_before_{};
    std::vector<Domain*> domains_;
};

TEST_F(Events, InterdomainPairDeliversBothWays) {
    Domain& a = add(1);
    Domain& b = add(2);
    const std::uint32_t pa = alloc(a, 2);
    EXPECT_EQ(send(a, pa), Errno::ok); // nobody there yet
    const std::uint32_t pb = connect(b, a, pa);
    EXPECT_TRUE(pending(b, pb)) << "the binder is told to look";
    EXPECT_FALSE(pending(a, pa));
    drain(b);
    EXPECT_EQ(send(a, pa), Errno::ok);
    EXPECT_TRUE(pending(b, pb));
    EXPECT_EQ(b.vcpus[0]->arch.info->evtchn_upcall_pending, 1);
    EXPECT_EQ(b.vcpus[0]->arch.info->evtchn_pending_sel, 1ull << (pb / 64));
    EXPECT_EQ(send(b, pb), Errno::ok);
    EXPECT_TRUE(pending(a, pa));
    EXPECT_EQ(status(a, pa).u.interdomain.port, pb);

    cero_evtchn_close op{pb};
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_close, op), Errno::ok);
    EXPECT_FALSE(pending(b, pb));
    EXPECT_EQ(status(a, pa).status, CERO_EVTCHNSTAT_unbound);
    EXPECT_EQ(status(a, pa).u.unbound.dom, 2);
    EXPECT_EQ(send(a, pa), Errno::ok);
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_close, op), Errno::inval);
}

TEST_F(Events, BindingChecksWhoMay) {
    Domain& a = add(1);
    Domain& b = add(2);
    Domain& c = add(3);
    const std::uint32_t pa = alloc(a, 2);
    cero_evtchn_bind_interdomain op{1, 0, pa, 0};
    EXPECT_EQ(call(*c.vcpus[0], CERO_EVTCHNOP_bind_interdomain, op), Errno::inval);
    op.remote_port = pa + 1;
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_bind_interdomain, op), Errno::inval);
    op.remote_port = 1u << 31;
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_bind_interdomain, op), Errno::inval);
    op.remote_dom = 99;
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_bind_interdomain, op), Errno::srch);
    cero_evtchn_alloc_unbound foreign{1, 2, 0};
    EXPECT_EQ(call(*b.vcpus[0], CERO_EVTCHNOP_alloc_unbound, foreign), Errno::perm);
    // A fault on the way out leaves nothing behind.
    const std::uint32_t used = b.events.in_use;
    host::run_as(*b.vcpus[0]);
    EXPECT_EQ(event_channel_op(*b.vcpus[0], CERO_EVTCHNOP_alloc_unbound, host::bad_address).error(),
              Errno::fault);
    host::run_as(*idle_);
    EXPECT_EQ(b.events.in_use, used);
}

TEST_F(Events, LoopWithinOneDomain) {
    Domain& a = add(1);
    const std::uint32_t first = alloc(a, CERO_DOMID_SELF);
    const std::uint32_t second = connect(a, a, first);
    drain(a);
    EXPECT_EQ(send(a, first), Errno::ok);
    EXPECT_TRUE(pending(a, second));
    cero_evtchn_close op{first};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_close, op), Errno::ok);
    EXPECT_EQ(status(a, second).status, CERO_EVTCHNSTAT_unbound);
}

TEST_F(Events, MaskHoldsBackAndUnmaskDelivers) {
    Domain& a = add(1);
    cero_evtchn_bind_ipi ipi{1, 0};
    ASSERT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_ipi, ipi), Errno::ok);
    a.shared_info->evtchn_mask[ipi.port / 64] |= 1ull << (ipi.port % 64);
    EXPECT_EQ(send(a, ipi.port), Errno::ok);
    EXPECT_TRUE(pending(a, ipi.port));
    EXPECT_EQ(a.vcpus[1]->arch.info->evtchn_upcall_pending, 0);
    cero_evtchn_unmask op{ipi.port};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_unmask, op), Errno::ok);
    EXPECT_EQ(a.vcpus[1]->arch.info->evtchn_upcall_pending, 1);
    EXPECT_EQ(a.vcpus[0]->arch.info->evtchn_upcall_pending, 0);
    cero_evtchn_bind_vcpu move{ipi.port, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_vcpu, move), Errno::inval) << "an IPI stays";
    cero_evtchn_bind_ipi nobody{7, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_ipi, nobody), Errno::noent);
}

TEST_F(Events, VirqsAreOnePerVcpuOrOnePerDomain) {
    Domain& a = add(1);
    cero_evtchn_bind_virq timer{CERO_VIRQ_TIMER, 1, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_virq, timer), Errno::ok);
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_virq, timer), Errno::exist);
    event::raise_virq(*a.vcpus[0], CERO_VIRQ_TIMER);
    EXPECT_FALSE(pending(a, timer.port));
    event::raise_virq(*a.vcpus[1], CERO_VIRQ_TIMER);
    EXPECT_TRUE(pending(a, timer.port));
    EXPECT_EQ(send(a, timer.port), Errno::inval);
    cero_evtchn_bind_virq global{CERO_VIRQ_DOM_EXC, 1, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_virq, global), Errno::inval);
    global.vcpu = 0;
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_virq, global), Errno::ok);
    cero_evtchn_bind_vcpu move{global.port, 1};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_vcpu, move), Errno::ok);
    drain(a);
    event::raise_global_virq(a, CERO_VIRQ_DOM_EXC);
    EXPECT_EQ(a.vcpus[1]->arch.info->evtchn_upcall_pending, 1);
    cero_evtchn_bind_virq unknown{CERO_NR_VIRQS, 0, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_virq, unknown), Errno::inval);
    cero_evtchn_close op{global.port};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_close, op), Errno::ok);
    drain(a);
    event::raise_global_virq(a, CERO_VIRQ_DOM_EXC);
    EXPECT_FALSE(pending(a, global.port));
}

TEST_F(Events, PortsAreBounded) {
    Domain& a = add(1, 1, 10);
    for (unsigned n = 1; n < 10; ++n)
        EXPECT_EQ(alloc(a, 2), n);
    cero_evtchn_alloc_unbound op{CERO_DOMID_SELF, 2, 0};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_alloc_unbound, op), Errno::nospc);
    cero_evtchn_close close{4};
    EXPECT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_close, close), Errno::ok);
    EXPECT_EQ(alloc(a, 2), 4u);
    EXPECT_EQ(a.events.in_use, 9u);
}

TEST_F(Events, ResetClosesEverything) {
    Domain& a = add(1);
    Domain& b = add(2);
    const std::uint32_t pb = alloc(b, 1);
    connect(a, b, pb);
    for (unsigned n = 0; n < 300; ++n)
        alloc(a, 2);
    host::state().preempt_every = 2;
    cero_evtchn_reset op{CERO_DOMID_SELF};
    unsigned rounds = 0;
    while (call(*a.vcpus[0], CERO_EVTCHNOP_reset, op) == Errno::restart)
        ASSERT_LT(++rounds, 100u);
    host::state().preempt_every = 0;
    EXPECT_EQ(a.events.in_use, 0u);
    EXPECT_EQ(status(b, pb).status, CERO_EVTCHNSTAT_unbound);
}

TEST_F(Events, DeathAfterHalfAResetLeavesNoPort) {
    Domain& b = add(2);
    const std::uint32_t pb = alloc(b, 9);
    auto a = create_domain(DomainId{9}, {.vcpus = 1});
    ASSERT_TRUE(create_vcpus(**a));
    cero_evtchn_reset op{CERO_DOMID_SELF};
    alloc(**a, 2);
    host::state().preempt_every = 1;
    ASSERT_EQ(call(*(*a)->vcpus[0], CERO_EVTCHNOP_reset, op), Errno::restart);
    host::state().preempt_every = 0;
    EXPECT_LT(connect(**a, b, pb), 64u) << "behind the reset, which is not continued";
    EXPECT_TRUE(destroy_domain(*idle_, **a));
    EXPECT_EQ(status(b, pb).status, CERO_EVTCHNSTAT_unbound);
}

TEST_F(Events, PollSleepsUntilOneOfThePortsIsPendingEvenIfMasked) {
    Domain& a = add(1);
    cero_evtchn_bind_ipi ipi{1, 0};
    ASSERT_EQ(call(*a.vcpus[0], CERO_EVTCHNOP_bind_ipi, ipi), Errno::ok);
    a.shared_info->evtchn_mask[0] = ~0ull;
    cero_evtchn_port ports[] = {ipi.port};
    cero_sched_poll poll{reinterpret_cast<std::uint64_t>(ports), 1, 0, 0};
    Vcpu& vcpu = *a.vcpus[1];
    host::run_as(vcpu);
    EXPECT_TRUE(sched_op(vcpu, CERO_SCHEDOP_poll, reinterpret_cast<std::uint64_t>(&poll)));
    EXPECT_TRUE(vcpu.is_blocked());
    host::run_as(*idle_);
    EXPECT_EQ(send(a, ipi.port), Errno::ok);
    EXPECT_FALSE(vcpu.is_blocked());
    EXPECT_EQ(a.polling_vcpus.load(Order::relaxed), 0u);
    host::run_as(vcpu); // already pending: does not sleep
    EXPECT_TRUE(sched_op(vcpu, CERO_SCHEDOP_poll, reinterpret_cast<std::uint64_t>(&poll)));
    EXPECT_FALSE(vcpu.is_blocked());
    poll.nr_ports = 129;
    EXPECT_EQ(*sched_op(vcpu, CERO_SCHEDOP_poll, reinterpret_cast<std::uint64_t>(&poll)),
              -static_cast<std::int64_t>(Errno::inval));
    drain(a);
    poll.nr_ports = 0;
    poll.timeout = host::state().now + 1000;
    EXPECT_TRUE(sched_op(vcpu, CERO_SCHEDOP_poll, reinterpret_cast<std::uint64_t>(&poll)));
    EXPECT_TRUE(vcpu.is_blocked());
    host::state().now += 2000;
    run_due_timers();
    EXPECT_FALSE(vcpu.is_blocked());
    host::run_as(*idle_);
    arch::this_cpu().softirqs.store(0, Order::relaxed);
}

TEST_F(Events, DeathClosesThePeersPort) {
    Domain& a = add(1);
    const std::uint64_t before = allocator_free_frames();
    auto b = create_domain(DomainId{9}, {.vcpus = 1});
    ASSERT_TRUE(create_vcpus(**b));
    const std::uint32_t pa = alloc(a, 9);
    connect(**b, a, pa);
    const std::uint64_t with_channels = allocator_free_frames();
    EXPECT_LT(with_channels, before);
    EXPECT_TRUE(destroy_domain(*idle_, **b));
    EXPECT_EQ(status(a, pa).status, CERO_EVTCHNSTAT_unbound);
    EXPECT_EQ(allocator_free_frames(), before - 1) << "one page of a's own table is left";
}

/// What each port of each domain should be, kept the naive way.
struct ModelPort {
    std::uint32_t status{CERO_EVTCHNSTAT_closed};
    int peer_domain{};
    std::uint32_t peer_port{};
};

TEST_F(Events, RandomOperationsAgreeWithAModel) {
    std::mt19937 random{5};
    constexpr unsigned count = 3;
    Domain* domains[count];
    std::map<std::uint32_t, ModelPort> model[count];
    for (unsigned n = 0; n < count; ++n)
        domains[n] = &add(static_cast<std::uint16_t>(n + 1), 2, 40);
    for (unsigned round = 0; round < 20000; ++round) {
        const unsigned me = random() % count;
        const unsigned other = random() % count;
        const std::uint32_t port = random() % 44;
        Vcpu& vcpu = *domains[me]->vcpus[0];
        switch (random() % 4) {
        case 0: {
            cero_evtchn_alloc_unbound op{CERO_DOMID_SELF, domains[other]->id.raw(), 0};
            const Errno error = call(vcpu, CERO_EVTCHNOP_alloc_unbound, op);
            std::size_t open = 0;
            for (const auto& [number, state] : model[me])
                open += state.status != CERO_EVTCHNSTAT_closed;
            ASSERT_EQ(error, open == 39 ? Errno::nospc : Errno::ok);
            if (error == Errno::ok)
                model[me][op.port] = {CERO_EVTCHNSTAT_unbound, static_cast<int>(other), 0};
            break;
        }
        case 1: {
            cero_evtchn_bind_interdomain op{domains[other]->id.raw(), 0, port, 0};
            const ModelPort peer = model[other][port];
            std::size_t open = 0;
            for (const auto& [number, state] : model[me])
                open += state.status != CERO_EVTCHNSTAT_closed;
            const Errno error = call(vcpu, CERO_EVTCHNOP_bind_interdomain, op);
            const bool fits =
                peer.status == CERO_EVTCHNSTAT_unbound && peer.peer_domain == static_cast<int>(me);
            ASSERT_EQ(error, open == 39 ? Errno::nospc : fits ? Errno::ok : Errno::inval);
            if (error != Errno::ok)
                break;
            model[me][op.local_port] = {CERO_EVTCHNSTAT_interdomain, static_cast<int>(other), port};
            model[other][port] = {CERO_EVTCHNSTAT_interdomain, static_cast<int>(me), op.local_port};
            break;
        }
        case 2: {
            cero_evtchn_close op{port};
            ModelPort& state = model[me][port];
            const Errno error = call(vcpu, CERO_EVTCHNOP_close, op);
            ASSERT_EQ(error, state.status == CERO_EVTCHNSTAT_closed ? Errno::inval : Errno::ok);
            if (state.status == CERO_EVTCHNSTAT_interdomain)
                model[state.peer_domain][state.peer_port] = {CERO_EVTCHNSTAT_unbound,
                                                             static_cast<int>(me), 0};
            model[me][port] = {};
            break;
        }
        default: {
            for (Domain* domain : domains)
                drain(*domain);
            const ModelPort state = model[me][port];
            const Errno error = send(*domains[me], port);
            ASSERT_EQ(error, state.status == CERO_EVTCHNSTAT_closed ? Errno::inval : Errno::ok);
            for (unsigned n = 0; n < count; ++n)
                for (std::uint32_t p = 1; p < 40; ++p)
                    ASSERT_EQ(pending(*domains[n], p),
                              state.status == CERO_EVTCHNSTAT_interdomain &&
                                  state.peer_domain == static_cast<int>(n) && state.peer_port == p);
        }
        }
        if (port != 0 && port < 40) {
            ASSERT_EQ(status(*domains[me], port).status, model[me][port].status);
        }
    }
}

} // namespace
} // namespace cero
