// SPDX-License-Identifier: BSD-2-Clause
// Life of domains: every allocation failure unwinds, teardown is preemptible and leaves nothing,
// shutdown and control operations.
#include <cero/abi/errno.h>
#include <cero/abi/sysctl.h>
#include <core/domain/domain.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/hypercall/handlers.hpp>
#include <core/sched/scheduler.hpp>

#include "../../support/host_arch/host_arch.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace cero {
namespace {

/// Leaves the allocator with exactly `count` frames while it lives.
class Scarcity {
public:
    explicit Scarcity(std::uint64_t count) {
        while (allocator_free_frames() > count) {
            unsigned order = max_order;
            while ((1ull << order) > allocator_free_frames() - count)
                --order;
            while (!take(order))
                --order;
        }
    }
    ~Scarcity() {
        for (const auto& [first, order] : taken_)
            allocator_give(first, order);
    }

private:
    bool take(unsigned order) {
        const auto block = allocator_take(order, 0, false);
        if (block)
            taken_.push_back({(*block).first, order});
        return static_cast<bool>(block);
    }
    std::vector<std::pair<MachineFrame, unsigned>> taken_;
};

class Domains : public testing::Test {
protected:
    void SetUp() override {
        host::boot();
        idle_ = &arch::current_vcpu();
        if (control_ == nullptr) {
            auto domain = create_domain(DomainId{0}, {.is_control = true, .vcpus = 1});
            ASSERT_TRUE(domain);
            ASSERT_TRUE(create_vcpus(**domain));
            control_ = *domain;
        }
        before_ = allocator_free_frames();
    }
    void TearDown() override {
        host::run_as(*idle_);
        arch::this_cpu().softirqs.store(0, Order::relaxed);
        EXPECT_EQ(allocator_free_frames(), before_);
        EXPECT_FALSE(next_domain(DomainId{1}));
    }
    std::int64_t control(cero_domctl& op) {
        op.interface_version = CERO_DOMCTL_INTERFACE_VERSION;
        host::run_as(*control_->vcpus[0]);
        const auto result = domctl_op(*control_->vcpus[0], reinterpret_cast<std::uint64_t>(&op));
        host::run_as(*idle_);
        return result ? *result : -static_cast<std::int64_t>(result.error());
    }
    std::int64_t control(std::uint32_t command, std::uint16_t domain) {
        auto op = std::make_unique<cero_domctl>();
        op->cmd = command;
        op->domain = domain;
        return control(*op);
    }
    std::uint16_t create(std::uint32_t vcpus) {
        auto op = std::make_unique<cero_domctl>();
        op->cmd = CERO_DOMCTL_createdomain;
        op->u.createdomain.max_vcpus = vcpus;
        op->u.createdomain.max_evtchn_port = 1023;
        op->u.createdomain.handle[0] = 0xab;
        EXPECT_EQ(control(*op), 0);
        return op->domain;
    }
    std::int64_t make_vcpus(std::uint16_t id, std::uint32_t count) {
        auto op = std::make_unique<cero_domctl>();
        op->cmd = CERO_DOMCTL_max_vcpus;
        op->domain = id;
        op->u.max_vcpus.max = count;
        return control(*op);
    }
    cero_domctl_getdomaininfo info(std::uint16_t id) {
        auto op = std::make_unique<cero_domctl>();
        op->cmd = CERO_DOMCTL_getdomaininfo;
        op->domain = id;
        EXPECT_EQ(control(*op), 0);
        return op->u.getdomaininfo;
    }

    static Domain* control_;
    Vcpu* idle_{};
    std::uint64_t before_{};
};
Domain* Domains::control_;

TEST_F(Domains, EveryAllocationFailureUnwinds) {
    constexpr std::uint64_t most = 40;
    bool made = false;
    for (std::uint64_t left = 0; left < most && !made; ++left) {
        const Scarcity scarcity{left};
        auto domain = create_domain(DomainId{5}, {.vcpus = 3});
        if (!domain) {
            EXPECT_EQ(domain.error(), Errno::nomem);
            EXPECT_EQ(allocator_free_frames(), left);
            EXPECT_FALSE(find_domain(DomainId{5}));
            continue;
        }
        const Status vcpus = create_vcpus(**domain);
        made = static_cast<bool>(vcpus);
        EXPECT_TRUE(destroy_domain(*idle_, **domain));
        EXPECT_EQ(allocator_free_frames(), left);
    }
    EXPECT_TRUE(made);
}

TEST_F(Domains, CostsLittleWhenIdle) {
    auto domain = create_domain(DomainId{5}, {.vcpus = 1});
    ASSERT_TRUE(create_vcpus(**domain));
    EXPECT_LE((before_ - allocator_free_frames()) * page_size, 64u * 1024);
    EXPECT_TRUE(destroy_domain(*idle_, **domain));
}

TEST_F(Domains, TeardownIsPreemptibleAndLeavesNothing) {
    for (const unsigned every : {0u, 1u, 2u, 3u, 7u}) {
        auto domain = create_domain(DomainId{5}, {.vcpus = 2});
        ASSERT_TRUE(domain);
        ASSERT_TRUE(create_vcpus(**domain));
        (*domain)->memory.max_pages.store(100, Order::relaxed);
        for (unsigned n = 0; n < 50; ++n)
            ASSERT_TRUE(allocate_frame(**domain));
        Vcpu& vcpu = *(*domain)->vcpus[0];
        cero_vcpu_set_periodic_timer period{1'000'000};
        EXPECT_TRUE(vcpu_op(vcpu, CERO_VCPUOP_set_periodic_timer, 1,
                            reinterpret_cast<std::uint64_t>(&period)));
        host::state().preempt_every = every;
        unsigned rounds = 0;
        while (destroy_domain(*idle_, **domain).error() == Errno::restart)
            ASSERT_LT(++rounds, 1000u);
        host::state().preempt_every = 0;
        if (every == 1) {
            EXPECT_GT(rounds, 3u);
        }
        EXPECT_EQ(allocator_free_frames(), before_);
        run_due_timers();
    }
}

TEST_F(Domains, AReferenceKeepsTheObjectAlive) {
    auto domain = create_domain(DomainId{5}, {.vcpus = 1});
    ASSERT_TRUE(create_vcpus(**domain));
    {
        const DomainRef ref = find_domain(DomainId{5});
        ASSERT_TRUE(ref);
        EXPECT_TRUE(destroy_domain(*idle_, **domain));
        EXPECT_FALSE(find_domain(DomainId{5}));
        EXPECT_TRUE(ref->is_dying());
        event::raise_global_virq(*ref, CERO_VIRQ_DOM_EXC);
        // The id can be used again although the old domain is still there.
        auto again = create_domain(DomainId{5}, {.vcpus = 1});
        ASSERT_TRUE(again);
        EXPECT_NE((*again)->slot, ref->slot);
        EXPECT_TRUE(destroy_domain(*idle_, **again));
    }
}

TEST_F(Domains, ControlOperationsDescribeTheLife) {
    const std::uint16_t id = create(2);
    EXPECT_EQ(make_vcpus(id, 3), -CERO_EINVAL);
    EXPECT_EQ(make_vcpus(id, 2), 0);
    cero_domctl_getdomaininfo it = info(id);
    EXPECT_EQ(it.domain, id);
    EXPECT_EQ(it.flags, CERO_DOMINF_paused | CERO_DOMINF_blocked);
    EXPECT_EQ(it.max_vcpu_id, 1u);
    EXPECT_EQ(it.nr_online_vcpus, 0u);
    EXPECT_EQ(it.handle[0], 0xab);
    EXPECT_EQ(control(CERO_DOMCTL_pausedomain, id), -CERO_EINVAL);
    EXPECT_EQ(control(CERO_DOMCTL_unpausedomain, id), 0);
    EXPECT_EQ(control(CERO_DOMCTL_unpausedomain, id), -CERO_EINVAL);
    find_domain(DomainId{id})->shut_down(CERO_SHUTDOWN_reboot);
    it = info(id);
    EXPECT_EQ(it.flags >> CERO_DOMINF_shutdownshift & CERO_DOMINF_shutdownmask,
              static_cast<unsigned>(CERO_SHUTDOWN_reboot));
    EXPECT_NE(it.flags & CERO_DOMINF_shutdown, 0u);
    EXPECT_EQ(control(CERO_DOMCTL_resumedomain, id), 0);
    EXPECT_EQ(info(id).flags & CERO_DOMINF_shutdown, 0u);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, 0), -CERO_EINVAL);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, 77), -CERO_ESRCH);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), -CERO_ESRCH);
}

TEST_F(Domains, DomctlIsForTheControlDomainAndItsVersion) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    Vcpu& guest = *find_domain(DomainId{id})->vcpus[0];
    cero_domctl op{};
    op.cmd = CERO_DOMCTL_pausedomain;
    op.interface_version = CERO_DOMCTL_INTERFACE_VERSION;
    EXPECT_EQ(domctl_op(guest, reinterpret_cast<std::uint64_t>(&op)).error(), Errno::perm);
    EXPECT_EQ(sysctl_op(guest, reinterpret_cast<std::uint64_t>(&op)).error(), Errno::perm);
    EXPECT_EQ(platform_op(guest, reinterpret_cast<std::uint64_t>(&op)).error(), Errno::perm);
    op.interface_version = 1;
    Vcpu& dom0 = *control_->vcpus[0];
    EXPECT_EQ(domctl_op(dom0, reinterpret_cast<std::uint64_t>(&op)).error(), Errno::acces);
    EXPECT_EQ(domctl_op(dom0, host::bad_address).error(), Errno::fault);
    EXPECT_EQ(control(999, id), -CERO_ENOSYS);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, ShareIsSetAndRead) {
    const std::uint16_t id = create(1);
    cero_domctl op{};
    op.cmd = CERO_DOMCTL_scheduler_op;
    op.domain = id;
    op.u.scheduler_op.sched_id = CERO_SCHEDULER_CREDIT2;
    op.u.scheduler_op.cmd = CERO_DOMCTL_SCHEDOP_putinfo;
    op.u.scheduler_op.u.credit2 = {512, 50};
    EXPECT_EQ(control(op), 0);
    op.u.scheduler_op.cmd = CERO_DOMCTL_SCHEDOP_getinfo;
    op.u.scheduler_op.u.credit2 = {};
    EXPECT_EQ(control(op), 0);
    EXPECT_EQ(op.u.scheduler_op.u.credit2.weight, 512);
    EXPECT_EQ(op.u.scheduler_op.u.credit2.cap, 50);
    op.u.scheduler_op.cmd = CERO_DOMCTL_SCHEDOP_putinfo;
    op.u.scheduler_op.u.credit2 = {0, 0};
    EXPECT_EQ(control(op), -CERO_EINVAL);
    op.u.scheduler_op.sched_id = CERO_SCHEDULER_CREDIT;
    EXPECT_EQ(control(op), -CERO_EINVAL);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, ListGoesThroughAllInOrder) {
    const std::uint16_t first = create(1);
    const std::uint16_t second = create(1);
    cero_domctl_getdomaininfo out[8]{};
    cero_sysctl op{};
    op.cmd = CERO_SYSCTL_getdomaininfolist;
    op.interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    op.u.getdomaininfolist.max_domains = 8;
    op.u.getdomaininfolist.buffer = reinterpret_cast<std::uint64_t>(out);
    EXPECT_TRUE(sysctl_op(*control_->vcpus[0], reinterpret_cast<std::uint64_t>(&op)));
    ASSERT_EQ(op.u.getdomaininfolist.num_domains, 3u);
    EXPECT_EQ(out[0].domain, 0);
    EXPECT_EQ(out[1].domain, std::min(first, second));
    EXPECT_EQ(out[2].domain, std::max(first, second));
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, first), 0);
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, second), 0);
}

TEST_F(Domains, VcpuLifeFollowsTheRules) {
    const std::uint16_t id = create(2);
    ASSERT_EQ(make_vcpus(id, 2), 0);
    const DomainRef domain = find_domain(DomainId{id});
    Vcpu& boot = *domain->vcpus[0];
    const auto op = [&](std::uint32_t command, std::uint32_t vcpu, std::uint64_t argument) {
        host::run_as(boot);
        const auto result = vcpu_op(boot, command, vcpu, argument);
        host::run_as(*idle_);
        return result ? *result : -static_cast<std::int64_t>(result.error());
    };
    EXPECT_EQ(op(CERO_VCPUOP_is_up, 1, 0), 0);
    EXPECT_EQ(op(CERO_VCPUOP_is_up, 2, 0), -CERO_ENOENT);
    EXPECT_EQ(op(CERO_VCPUOP_is_up, ~0u, 0), -CERO_ENOENT);
    EXPECT_EQ(op(CERO_VCPUOP_up, 1, 0), -CERO_EINVAL);
    EXPECT_EQ(op(CERO_VCPUOP_initialise, 1, host::bad_address), -CERO_EFAULT);
    EXPECT_EQ(op(CERO_VCPUOP_get_physid, 0, host::bad_address), -CERO_ENOSYS);
    EXPECT_EQ(op(CERO_VCPUOP_stop_periodic_timer, 0, 0), 0);
    cero_vcpu_set_periodic_timer period{999'999};
    EXPECT_EQ(op(CERO_VCPUOP_set_periodic_timer, 0, reinterpret_cast<std::uint64_t>(&period)),
              -CERO_EINVAL);
    cero_vcpu_set_singleshot_timer shot{1, 0, 0};
    EXPECT_EQ(op(CERO_VCPUOP_set_singleshot_timer, 1, reinterpret_cast<std::uint64_t>(&shot)),
              -CERO_EINVAL);
    EXPECT_EQ(op(CERO_VCPUOP_set_singleshot_timer, 0, reinterpret_cast<std::uint64_t>(&shot)), 0);
    shot.flags = CERO_VCPU_SSHOTTMR_future;
    EXPECT_EQ(op(CERO_VCPUOP_set_singleshot_timer, 0, reinterpret_cast<std::uint64_t>(&shot)),
              -CERO_ETIME);
    cero_vcpu_runstate_info state{};
    EXPECT_EQ(op(CERO_VCPUOP_get_runstate_info, 1, reinterpret_cast<std::uint64_t>(&state)), 0);
    EXPECT_EQ(state.state, static_cast<unsigned>(CERO_RUNSTATE_offline));
    EXPECT_EQ(op(99, 0, 0), -CERO_ENOSYS);
    run_due_timers();
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, RegisteredVcpuInfoTakesOver) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    {
        const DomainRef domain = find_domain(DomainId{id});
        domain->memory.max_pages.store(10, Order::relaxed);
        auto frame = allocate_frame(*domain);
        ASSERT_TRUE(frame);
        Vcpu& vcpu = *domain->vcpus[0];
        cero_vcpu_register_vcpu_info op{frame->raw(), 4096 - 63, 0};
        host::run_as(vcpu);
        const auto call = [&] {
            const auto result = vcpu_op(vcpu, CERO_VCPUOP_register_vcpu_info, 0,
                                        reinterpret_cast<std::uint64_t>(&op));
            return result ? *result : -static_cast<std::int64_t>(result.error());
        };
        EXPECT_EQ(call(), -CERO_ENXIO);
        op.offset = 4;
        EXPECT_EQ(call(), -CERO_ENXIO);
        op.offset = 4096 - 64;
        op.mfn = 1ull << 50;
        EXPECT_EQ(call(), -CERO_EINVAL);
        op.mfn = frame->raw();
        EXPECT_EQ(call(), 0);
        EXPECT_EQ(call(), -CERO_EBUSY);
        host::run_as(*idle_);
        auto* fresh = reinterpret_cast<cero_vcpu_info*>(arch::frame_ptr<char>(*frame) + op.offset);
        EXPECT_EQ(vcpu.arch.info, fresh);
        EXPECT_EQ(fresh->evtchn_pending_sel, ~0ull);
        EXPECT_EQ(fresh->evtchn_upcall_pending, 1);
        EXPECT_EQ(fresh->evtchn_upcall_mask, 1);
        EXPECT_EQ(fresh->time.version % 2, 0u);
        EXPECT_NE(fresh->time.tsc_to_system_mul, 0u);
        EXPECT_GT(fresh->time.version, domain->shared_info->vcpu_info[0].time.version);
    }
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, RefusedContextLeavesTheTables) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    {
        const DomainRef domain = find_domain(DomainId{id});
        domain->memory.max_pages.store(8, Order::relaxed);
        const Vcpu& vcpu = *domain->vcpus[0];
        const MachineFrame first = *allocate_frame(*domain), second = *allocate_frame(*domain);
        auto context = std::make_unique<cero_vcpu_guest_context>();
        const auto set = [&](MachineFrame root) {
            context->ctrlreg[3] = root.raw() << page_shift;
            auto op = std::make_unique<cero_domctl>();
            op->cmd = CERO_DOMCTL_setvcpucontext;
            op->domain = id;
            op->u.vcpucontext.ctxt = reinterpret_cast<std::uint64_t>(context.get());
            return control(*op);
        };
        ASSERT_EQ(set(first), 0);
        host::state().refuse_context = true;
        EXPECT_EQ(set(second), -CERO_EINVAL);
        host::state().refuse_context = false;
        EXPECT_EQ(vcpu.kernel_root, first);
        context->gdt_ents = 513;
        context->gdt_frames[0] = second.raw();
        context->gdt_frames[1] = first.raw(); // a page table
        EXPECT_LT(set(second), 0);
        EXPECT_EQ(vcpu.kernel_root, first);
        context->gdt_ents = 0;
        EXPECT_EQ(set(second), 0);
        EXPECT_EQ(vcpu.kernel_root, second);
    }
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, WatchdogEndsADomainThatForgetsIt) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    {
        const DomainRef domain = find_domain(DomainId{id});
        Vcpu& vcpu = *domain->vcpus[0];
        const auto call = [&](std::uint32_t dog, std::uint32_t seconds) {
            cero_sched_watchdog op{dog, seconds};
            const auto result =
                sched_op(vcpu, CERO_SCHEDOP_watchdog, reinterpret_cast<std::uint64_t>(&op));
            return result ? *result : -static_cast<std::int64_t>(result.error());
        };
        EXPECT_EQ(call(1, 5), -CERO_EINVAL);
        EXPECT_EQ(call(0, 5), 1);
        EXPECT_EQ(call(0, 50), 2);
        EXPECT_EQ(call(0, 5), -CERO_ENOSPC);
        EXPECT_EQ(call(3, 5), -CERO_EINVAL);
        EXPECT_EQ(call(2, 0), 0);
        EXPECT_EQ(call(2, 0), -CERO_EINVAL);
        host::state().now += 4'000'000'000;
        EXPECT_EQ(call(1, 5), 0);
        host::state().now += 4'000'000'000;
        run_due_timers();
        EXPECT_FALSE(domain->shutting_down.load(Order::relaxed));
        host::state().now += 2'000'000'000;
        run_due_timers();
        EXPECT_TRUE(domain->shutting_down.load(Order::relaxed));
        EXPECT_EQ(domain->shutdown_code, static_cast<unsigned>(CERO_SHUTDOWN_watchdog));
    }
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, WatchdogThatExpiresWhileItIsCancelled) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    {
        const DomainRef domain = find_domain(DomainId{id});
        Vcpu& vcpu = *domain->vcpus[0];
        for (cero_sched_watchdog op : {cero_sched_watchdog{0, 5}, cero_sched_watchdog{1, 0}})
            ASSERT_TRUE(
                sched_op(vcpu, CERO_SCHEDOP_watchdog, reinterpret_cast<std::uint64_t>(&op)));
        domain->watchdogs[0].run(); // another CPU had taken it off its queue
        EXPECT_TRUE(domain->shutting_down.load(Order::relaxed));
    }
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, ACrashWhileShuttingDownStopsTheVcpuToo) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    const auto asked = [] {
        const std::uint32_t bits = arch::this_cpu().softirqs.exchange(0, Order::relaxed);
        return (bits & bit(arch::Softirq::schedule)) != 0;
    };
    {
        const DomainRef domain = find_domain(DomainId{id});
        domain->shut_down(CERO_SHUTDOWN_reboot);
        asked();
        domain->crash("from outside");
        EXPECT_FALSE(asked());
        host::run_as(*domain->vcpus[0]);
        domain->crash("on its way back to the guest");
        EXPECT_TRUE(asked());
        EXPECT_EQ(domain->shutdown_code, static_cast<unsigned>(CERO_SHUTDOWN_reboot));
        host::run_as(*idle_);
    }
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

TEST_F(Domains, ControlDomainsEndIsTheMachines) {
    EXPECT_EXIT(control_->shut_down(CERO_SHUTDOWN_poweroff), testing::ExitedWithCode(10), "");
    EXPECT_EXIT(control_->shut_down(CERO_SHUTDOWN_reboot), testing::ExitedWithCode(11), "");
    EXPECT_EXIT(control_->shut_down(CERO_SHUTDOWN_crash), testing::ExitedWithCode(11), "");
    host::state().options["noreboot"] = "";
    EXPECT_DEATH(control_->shut_down(CERO_SHUTDOWN_crash), "noreboot");
    host::state().options.clear();
}

TEST_F(Domains, UnprivilegedConsoleOutputIsMarkedAndLimited) {
    const std::uint16_t id = create(1);
    ASSERT_EQ(make_vcpus(id, 1), 0);
    Vcpu& vcpu = *find_domain(DomainId{id})->vcpus[0];
    host::state().log.clear();
    const char text[] = "hello\x1b there\nsecond line, not ended";
    EXPECT_TRUE(console_op(vcpu, CERO_CONSOLEIO_write, sizeof text - 1,
                           reinterpret_cast<std::uint64_t>(text)));
    ASSERT_EQ(host::state().log.size(), 1u);
    EXPECT_EQ(host::state().log[0], "(d" + std::to_string(id) + ") hello there");
    const auto write = [&](const std::string& what) {
        host::state().log.clear();
        host::state().preempt_calls = 0;
        host::state().preempt_every = 1u << 30; // they are counted
        EXPECT_TRUE(console_op(vcpu, CERO_CONSOLEIO_write, static_cast<std::uint32_t>(what.size()),
                               reinterpret_cast<std::uint64_t>(what.data())));
        std::size_t serial = 0;
        for (const std::string& line : host::state().log)
            serial += line.size() + sizeof "[    0.000000] ";
        return serial;
    };
    write("\n");
    write(std::string(200'000, '\n'));
    EXPECT_EQ(host::state().log.size(), 0u) << "empty lines";
    // What counts is what goes out: half of what a serial line carries, and a preemption point
    // after each line.
    std::string flood;
    for (unsigned n = 0; n < 20'000; ++n)
        flood += "a\n";
    EXPECT_LE(write(flood), 6u * 1024);
    EXPECT_GT(host::state().log.size(), 100u);
    EXPECT_GE(host::state().preempt_calls, host::state().log.size());
    host::state().now += 1'000'000'000;
    EXPECT_GT(write(flood), 5u * 1024);
    host::state().preempt_every = 0;
    EXPECT_EQ(console_op(vcpu, CERO_CONSOLEIO_read, 1, 0x10000).error(), Errno::perm);
    host::state().log.clear();
    EXPECT_EQ(control(CERO_DOMCTL_destroydomain, id), 0);
}

} // namespace
} // namespace cero
