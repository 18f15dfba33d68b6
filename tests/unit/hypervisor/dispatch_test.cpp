// SPDX-License-Identifier: BSD-2-Clause
// The hypercall table: decoding, multicall, continuations, what is left out; small operations.
#include <cero/abi/errno.h>
#include <cero/abi/physdev.h>
#include <cero/abi/platform.h>
#include <core/domain/domain.hpp>
#include <core/domain/pirq.hpp>
#include <core/event/event.hpp>
#include <core/hypercall/handlers.hpp>
#include <core/time/guest_time.hpp>

#include "../../support/host_arch/host_arch.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace cero {
namespace {

struct Seen {
    std::uint64_t number;
    GuestVirt pointer;
    EventPort port;
    std::uint8_t small;
} seen;

Status probe(Vcpu&, std::uint64_t number, GuestPtr<std::uint32_t> pointer, EventPort port,
             std::uint8_t small) {
    seen = {number, pointer.address(), port, small};
    return Errno::nospc;
}
Result<std::int64_t> answer(Vcpu&) {
    return std::int64_t{42};
}

class Dispatch : public testing::Test {
protected:
    void SetUp() override {
        host::boot();
        idle_ = &arch::current_vcpu();
        if (domain_ == nullptr) {
            auto domain = create_domain(DomainId{0}, {.is_control = true, .vcpus = 1});
            ASSERT_TRUE(create_vcpus(**domain));
            domain_ = *domain;
            EXPECT_TRUE(domain_->rights.pirqs.add(0, 255));
        }
        host::run_as(vcpu());
    }
    void TearDown() override {
        host::state().preempt_every = 0;
        host::run_as(*idle_);
        arch::this_cpu().softirqs.store(0, Order::relaxed);
    }
    static Vcpu& vcpu() { return *domain_->vcpus[0]; }
    static std::int64_t call(unsigned number, std::uint64_t a = 0, std::uint64_t b = 0,
                             std::uint64_t c = 0) {
        vcpu().arch.regs.rax = number;
        return hypercall_table[number](a, b, c, 0, 0);
    }
    template <typename T>
    static std::uint64_t at(T& object) {
        return reinterpret_cast<std::uint64_t>(&object);
    }
    static Domain* domain_;
    Vcpu* idle_{};
};
Domain* Dispatch::domain_;

TEST_F(Dispatch, ArgumentsAreDecodedByType) {
    EXPECT_EQ(wrap<&probe>(7, 0x1234, 0xffff'ffff'0000'0009ull, 0x1ff, 0), -CERO_ENOSPC);
    EXPECT_EQ(seen.number, 7u);
    EXPECT_EQ(seen.pointer, GuestVirt{0x1234});
    EXPECT_EQ(seen.port, EventPort{9});
    EXPECT_EQ(seen.small, 0xff);
    EXPECT_EQ(wrap<&answer>(0, 0, 0, 0, 0), 42);
}

TEST_F(Dispatch, EveryRowAnswers) {
    for (unsigned n = 0; n < CERO_HYPERCALL_COUNT; ++n)
        ASSERT_NE(hypercall_table[n], nullptr);
    EXPECT_EQ(call(CERO_HYPERCALL_hvm_op), -CERO_ENOSYS);
    EXPECT_EQ(call(63), -CERO_ENOSYS);
    host::state().log.clear();
    for (int n = 0; n < 2; ++n) {
        EXPECT_EQ(finish_hypercall(arch::current_vcpu(), CERO_HYPERCALL_kexec_op,
                                   call(CERO_HYPERCALL_kexec_op)),
                  -CERO_ENOSYS);
        EXPECT_EQ(finish_hypercall(arch::current_vcpu(), 63, call(63)), -CERO_ENOSYS);
    }
    ASSERT_EQ(host::state().log.size(), 2u) << "each logged once";
    EXPECT_NE(host::state().log[0].find("kexec_op (hypercall 37)"), std::string::npos);
    EXPECT_NE(host::state().log[1].find("? (hypercall 63)"), std::string::npos);
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_version), 0x40011);
}

TEST_F(Dispatch, MulticallRunsAllAndStoresResults) {
    cero_multicall_entry entries[3]{};
    entries[0].op = CERO_HYPERCALL_xen_version;
    entries[1].op = 999;
    entries[2].op = CERO_HYPERCALL_multicall;
    entries[2].args[0] = at(entries);
    entries[2].args[1] = 1;
    EXPECT_EQ(call(CERO_HYPERCALL_multicall, at(entries), 3), 0);
    EXPECT_EQ(entries[0].result, 0x40011);
    EXPECT_EQ(entries[1].result, -CERO_ENOSYS);
    EXPECT_EQ(entries[2].result, -CERO_EINVAL) << "no nesting";
    EXPECT_EQ(call(CERO_HYPERCALL_multicall, host::bad_address, 1), -CERO_EFAULT);
    EXPECT_FALSE(vcpu().in_multicall);
}

TEST_F(Dispatch, MulticallIsPreemptedBetweenChunks) {
    cero_multicall_entry entries[36]{};
    for (auto& entry : entries)
        entry.op = CERO_HYPERCALL_xen_version;
    host::state().preempt_every = 1;
    std::uint64_t first = at(entries);
    std::uint64_t count = 36;
    unsigned rounds = 0;
    for (;;) {
        vcpu().arch.regs.rdi = first;
        vcpu().arch.regs.rsi = count;
        const std::int64_t result = call(CERO_HYPERCALL_multicall, first, count);
        if (result != hypercall_restart)
            break;
        EXPECT_EQ(finish_hypercall(vcpu(), CERO_HYPERCALL_multicall, result),
                  CERO_HYPERCALL_multicall);
        first = host::state().restart_args[0];
        count = host::state().restart_args[1];
        ASSERT_LT(++rounds, 10u);
    }
    EXPECT_EQ(rounds, 4u);
    for (auto& entry : entries)
        EXPECT_EQ(entry.result, 0x40011);
}

TEST_F(Dispatch, AnEntryThatIsPreemptedGoesOnInsideItsMulticall) {
    for (unsigned n = 0; n < 200; ++n) {
        cero_evtchn_alloc_unbound op{CERO_DOMID_SELF, 1, 0};
        ASSERT_EQ(call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_alloc_unbound, at(op)), 0);
    }
    cero_evtchn_reset reset{CERO_DOMID_SELF};
    cero_multicall_entry entries[2]{};
    entries[0].op = CERO_HYPERCALL_event_channel_op;
    entries[0].args[0] = CERO_EVTCHNOP_reset;
    entries[0].args[1] = at(reset);
    entries[1].op = CERO_HYPERCALL_xen_version;
    host::state().preempt_every = 1;
    EXPECT_EQ(call(CERO_HYPERCALL_multicall, at(entries), 2), hypercall_restart);
    EXPECT_EQ(vcpu().continuation[0], at(entries));
    EXPECT_EQ(vcpu().continuation[1], 2u);
    host::state().preempt_every = 0;
    EXPECT_EQ(call(CERO_HYPERCALL_multicall, at(entries), 2), 0);
    EXPECT_EQ(entries[0].result, 0);
    EXPECT_EQ(domain_->events.in_use, 0u);
}

TEST_F(Dispatch, ContinuationKeepsArgumentsNotGiven) {
    vcpu().arch.regs.rdi = 1;
    vcpu().arch.regs.rsi = 2;
    vcpu().arch.regs.rdx = 3;
    static_cast<void>(hypercall_continue(vcpu(), 10, 20));
    EXPECT_EQ(finish_hypercall(vcpu(), 12, hypercall_restart), 12);
    EXPECT_EQ(host::state().restart_number, 12u);
    EXPECT_EQ(host::state().restart_args[0], 10u);
    EXPECT_EQ(host::state().restart_args[1], 20u);
    EXPECT_EQ(host::state().restart_args[2], 3u);
}

TEST_F(Dispatch, VersionAnswersWhatKernelsAsk) {
    cero_feature_info features{0, 0};
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_get_features, at(features)), 0);
    EXPECT_EQ(features.submap, 1u << 5 | 1u << 6 | 1u << 7 | 1u << 11);
    features = {1, 77};
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_get_features, at(features)),
              -CERO_EINVAL);
    char capabilities[1024];
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_capabilities, at(capabilities)), 0);
    EXPECT_STREQ(capabilities, "xen-3.0-x86_64 ");
    cero_platform_parameters parameters{};
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_platform_parameters, at(parameters)), 0);
    EXPECT_EQ(parameters.virt_start, CERO_HYPERVISOR_VIRT_START);
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_pagesize), 4096);
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_build_id, 0), -CERO_ENODATA);
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, CERO_XENVER_get_features, host::bad_address),
              -CERO_EFAULT);
    EXPECT_EQ(call(CERO_HYPERCALL_xen_version, 99), -CERO_ENOSYS);
}

TEST_F(Dispatch, VmAssistKnowsItsTypes) {
    EXPECT_EQ(call(CERO_HYPERCALL_vm_assist, 0, CERO_VMASST_TYPE_writable_pagetables), 0);
    EXPECT_EQ(domain_->vm_assist & 4, 4u);
    EXPECT_EQ(call(CERO_HYPERCALL_vm_assist, 1, CERO_VMASST_TYPE_writable_pagetables), 0);
    EXPECT_EQ(domain_->vm_assist & 4, 0u);
    EXPECT_EQ(call(CERO_HYPERCALL_vm_assist, 0, CERO_VMASST_TYPE_architectural_iopl), -CERO_EINVAL);
    EXPECT_EQ(call(CERO_HYPERCALL_vm_assist, 0, 4'000'000'000), -CERO_EINVAL);
    EXPECT_EQ(call(CERO_HYPERCALL_vm_assist, 2, 0), -CERO_ENOSYS);
}

TEST_F(Dispatch, TimerOperationTreatsNonsenseAsSoon) {
    const std::uint64_t now = host::state().now;
    EXPECT_EQ(call(CERO_HYPERCALL_set_timer_op, now + 500), 0);
    EXPECT_EQ(vcpu().singleshot.deadline().raw(), now + 500);
    EXPECT_EQ(call(CERO_HYPERCALL_set_timer_op, ~0ull), 0);
    EXPECT_EQ(vcpu().singleshot.deadline().raw(), now + 100'000'000);
    EXPECT_EQ(call(CERO_HYPERCALL_set_timer_op, 0), 0);
    EXPECT_FALSE(vcpu().singleshot.is_armed());
}

TEST_F(Dispatch, WallClockFollowsTheControlDomain) {
    const cero_shared_info& shared = *domain_->shared_info;
    const std::uint32_t version = shared.wc_version;
    cero_platform_op op{};
    op.cmd = CERO_XENPF_settime64;
    op.interface_version = CERO_PLATFORM_INTERFACE_VERSION;
    op.u.settime64.secs = 5'000'000'010;
    op.u.settime64.nsecs = 500'000'000;
    op.u.settime64.system_time = 10'000'000'000;
    EXPECT_EQ(call(CERO_HYPERCALL_platform_op, at(op)), 0);
    EXPECT_EQ(shared.wc_sec | std::uint64_t{shared.wc_sec_hi} << 32, 5'000'000'000u);
    EXPECT_EQ(shared.wc_nsec, 500'000'000u);
    EXPECT_EQ(shared.wc_version % 2, 0u);
    EXPECT_GT(shared.wc_version, version);
    op.u.settime64.mbz = 1;
    EXPECT_EQ(call(CERO_HYPERCALL_platform_op, at(op)), -CERO_EINVAL);
}

TEST_F(Dispatch, PirqsGoFromPinOrMessageToThePort) {
    cero_physdev_map_pirq pin{};
    pin.domid = CERO_DOMID_SELF;
    pin.type = CERO_MAP_PIRQ_TYPE_GSI;
    pin.index = 17;
    pin.pirq = -1;
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_map_pirq, at(pin)), 0);
    EXPECT_EQ(pin.pirq, 17);
    cero_physdev_setup_gsi setup{17, 1, 1, 0};
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_setup_gsi, at(setup)), 0);
    EXPECT_TRUE(host::state().irqs[17].masked);
    cero_evtchn_bind_pirq bind{17, 1, 0};
    EXPECT_EQ(call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_bind_pirq, at(bind)), 0);
    EXPECT_FALSE(host::state().irqs[17].masked);
    EXPECT_EQ(call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_bind_pirq, at(bind)),
              -CERO_EEXIST);
    host::state().irqs[17].handler(host::state().irqs[17].cookie);
    EXPECT_TRUE(event::is_pending(*domain_, bind.port));
    cero_physdev_irq_status_query query{17, 0};
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_irq_status_query, at(query)), 0);
    EXPECT_EQ(query.flags, CERO_IRQSTAT_needs_eoi);
    cero_physdev_eoi eoi{17};
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_eoi, at(eoi)), 0);
    EXPECT_EQ(host::state().irqs[17].eois, 1u);

    cero_physdev_map_pirq message{};
    message.domid = CERO_DOMID_SELF;
    message.type = CERO_MAP_PIRQ_TYPE_MSI_SEG;
    message.index = message.pirq = -1;
    message.devfn = 0x18;
    message.table_base = 0xfebf0000;
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_map_pirq, at(message)), 0);
    EXPECT_EQ(message.pirq, 24);
    cero_physdev_unmap_pirq unmap{CERO_DOMID_SELF, 0, 17};
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_unmap_pirq, at(unmap)), -CERO_EBUSY);
    cero_evtchn_close close{bind.port};
    EXPECT_EQ(call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_close, at(close)), 0);
    EXPECT_TRUE(host::state().irqs[17].masked);
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_unmap_pirq, at(unmap)), 0);
    unmap.pirq = 24;
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_unmap_pirq, at(unmap)), 0);
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_unmap_pirq, at(unmap)), -CERO_EINVAL);
    EXPECT_TRUE(host::state().irqs.empty());
    pin.type = CERO_MAP_PIRQ_TYPE_MULTI_MSI;
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_map_pirq, at(pin)), -CERO_EINVAL);
    cero_physdev_set_iopl iopl{4};
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_set_iopl, at(iopl)), -CERO_EINVAL);
    EXPECT_EQ(call(CERO_HYPERCALL_physdev_op, CERO_PHYSDEVOP_pirq_eoi_gmfn_v2, at(iopl)),
              -CERO_ENOSYS);
}

TEST_F(Dispatch, BlockSleepsUnlessAnEventWaits) {
    cero_vcpu_info& info = *vcpu().arch.info;
    info.evtchn_upcall_mask = 1;
    info.evtchn_upcall_pending = 1;
    EXPECT_EQ(call(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_block), 0);
    EXPECT_EQ(info.evtchn_upcall_mask, 0);
    EXPECT_FALSE(vcpu().is_blocked());
    info.evtchn_upcall_pending = 0;
    EXPECT_EQ(call(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_block), 0);
    EXPECT_TRUE(vcpu().is_blocked());
    event::mark_pending(vcpu());
    EXPECT_FALSE(vcpu().is_blocked());
    EXPECT_EQ(call(CERO_HYPERCALL_sched_op, 99), -CERO_ENOSYS);
}

} // namespace
} // namespace cero
