// SPDX-License-Identifier: BSD-2-Clause
// Validation and teardown stopped at every preemption point there is: the end is always the same.
#include "fixture.hpp"

namespace cero::test {
namespace {

class PreemptionTest : public MemoryTest {
protected:
    /// An l4 over 2 l3, 4 l2 and 12 l1 tables, some of them shared.
    void SetUp() override {
        MemoryTest::SetUp();
        data = new_frame(a());
        build();
    }
    void build() {
        l4 = table({});
        std::vector<MachineFrame> l3s;
        for (int i = 0; i < 2; ++i) {
            std::vector<MachineFrame> l2s;
            for (int j = 0; j < 2; ++j) {
                std::vector<MachineFrame> l1s;
                for (int k = 0; k < 3; ++k) {
                    l1s.push_back(new_frame(a()));
                    words(l1s.back())[k] = to(data, rw).raw();
                    words(l1s.back())[511] = to(data, ro).raw();
                }
                l1s.push_back(l1s.front());
                l2s.push_back(table(l1s));
                last_l1 = l1s[2];
            }
            l3s.push_back(table(l2s));
            last_l2 = l2s.back();
        }
        words(l4)[0] = to(l3s[0], table_bits).raw();
        words(l4)[300] = to(l3s[1], table_bits).raw();
        words(l4)[511] = to(l3s[1], table_bits).raw();
    }
    MachineFrame table(const std::vector<MachineFrame>& children) {
        const MachineFrame frame = new_frame(a());
        unsigned index = 0;
        for (const MachineFrame child : children) {
            words(frame)[index] = to(child, table_bits).raw();
            index = index == 0 ? 200 : index == 200 ? 510 : 511;
        }
        tables.push_back(frame);
        return frame;
    }
    /// Counts only: type labels of unused frames may differ.
    static std::vector<std::array<std::uint64_t, 4>> counts() {
        std::vector<std::array<std::uint64_t, 4>> all;
        for (const std::uint64_t raw : snapshot()) {
            const FrameWord word{raw};
            const bool used = word.type_refs() != 0;
            all.push_back({word.refs(), word.type_refs(), used ? raw & FrameWord::type_mask : 0,
                           raw & (FrameWord::pinned | FrameWord::partial | FrameWord::locked)});
        }
        return all;
    }
    MachineFrame l4, data, last_l1, last_l2;
    std::vector<MachineFrame> tables;
};

TEST_F(PreemptionTest, PinAndUnpinAtEveryPoint) {
    const auto idle = counts();
    host::never_preempt();
    ASSERT_EQ(pin(a(), 4, l4), ok);
    const std::uint64_t pin_points = host::preemption_points();
    const auto pinned = counts();
    host::never_preempt();
    ASSERT_EQ(unpin(a(), l4), ok);
    const std::uint64_t unpin_points = host::preemption_points();
    EXPECT_EQ(counts(), idle);
    EXPECT_GT(pin_points, 15u);
    EXPECT_GT(unpin_points, 15u);
    for (std::uint64_t n = 0; n <= pin_points; ++n) {
        host::preempt_after(n);
        ASSERT_EQ(pin(a(), 4, l4), ok) << n;
        ASSERT_EQ(counts(), pinned) << n;
        host::preempt_after(n % (unpin_points + 1));
        ASSERT_EQ(unpin(a(), l4), ok) << n;
        ASSERT_EQ(counts(), idle) << n;
        ASSERT_EQ(frame_audit(), 0u);
    }
}

TEST_F(PreemptionTest, AlwaysPreemptedStillEnds) {
    const auto idle = counts();
    host::preempt_after(0, true);
    ASSERT_EQ(pin(a(), 4, l4), ok);
    ASSERT_EQ(unpin(a(), l4), ok);
    EXPECT_EQ(counts(), idle);
}

TEST_F(PreemptionTest, RefusalAtEveryPoint) {
    const auto idle = counts();
    words(last_l1)[400] = to(MachineFrame{machine_frames - 1}, rw).raw(); // a free frame
    host::never_preempt();
    EXPECT_EQ(pin(a(), 4, l4), code(Errno::inval));
    const std::uint64_t points = host::preemption_points();
    for (std::uint64_t n = 0; n <= points; ++n) {
        host::preempt_after(n);
        ASSERT_EQ(pin(a(), 4, l4), code(Errno::inval)) << n;
        host::preempt_after(0, true);
        ASSERT_EQ(run(a(), [&] { return code(finish_page_work(*a().vcpu).error()); }), ok);
        ASSERT_EQ(counts(), idle) << n;
    }
}

TEST_F(PreemptionTest, RefusalThatMayNeverGoOnForLong) {
    const auto idle = counts();
    words(last_l1)[400] = to(MachineFrame{machine_frames - 1}, rw).raw();
    for (std::uint64_t n = 0; n <= 20; ++n) {
        host::preempt_after(
            n, true); // from the n-th on each point says stop, in the refusal's way back too
        ASSERT_EQ(pin(a(), 4, l4), code(Errno::inval)) << n;
        EXPECT_EQ(frame_audit(), 0u) << n;
        ASSERT_EQ(run(a(), [&] { return code(finish_page_work(*a().vcpu).error()); }), ok);
        ASSERT_EQ(counts(), idle) << n;
    }
}

TEST_F(PreemptionTest, AbandonedRootAskedForBelowItsOwnChild) {
    const auto idle = counts();
    const MachineFrame child = Pte{words(l4)[0]}.frame();
    host::never_preempt();
    ASSERT_EQ(pin(a(), 3, child), ok);
    const auto pinned = counts();
    cero_mmuext_op op{};
    op.cmd = CERO_MMUEXT_PIN_L4_TABLE;
    op.arg1.mfn = l4.raw();
    host::preempt_after(0);
    host::enter_cpu(*a().vcpu);
    ASSERT_EQ(
        mmuext_op(*a().vcpu, reinterpret_cast<std::uint64_t>(&op), 1, 0, CERO_DOMID_SELF).error(),
        Errno::restart);
    ASSERT_TRUE(frame_look(l4).is(FrameWord::partial));
    // The child is locked while its new entry is checked: the root, which holds it, cannot be taken
    // apart then.
    host::never_preempt();
    EXPECT_EQ(set_entry(a(), child, 5, to(l4, table_bits)), code(Errno::busy));
    EXPECT_EQ(counts(), pinned);
    ASSERT_EQ(unpin(a(), child), ok);
    EXPECT_EQ(counts(), idle);
}

TEST_F(PreemptionTest, AbandonedValidationIsUndoneByTheNextUse) {
    host::never_preempt();
    const auto idle = counts();
    for (std::uint64_t n = 0; n < 14; ++n) {
        host::preempt_after(n);
        cero_mmuext_op op{};
        op.cmd = CERO_MMUEXT_PIN_L4_TABLE;
        op.arg1.mfn = l4.raw();
        host::enter_cpu(*a().vcpu);
        ASSERT_EQ(mmuext_op(*a().vcpu, reinterpret_cast<std::uint64_t>(&op), 1, 0, CERO_DOMID_SELF)
                      .error(),
                  Errno::restart);
        EXPECT_TRUE(frame_look(l4).is(FrameWord::partial));
        EXPECT_EQ(frame_audit(), 0u) << n;
        EXPECT_EQ(frame_get_writable(l4, a().domain->slot).error(), Errno::busy);
        // Something else is to become of the frame: the half-done tree goes first.
        host::preempt_after(n % 3, true);
        EXPECT_NE(pin(a(), 3, l4), code(Errno::busy));
        host::never_preempt();
        if (frame_look(l4).is(FrameWord::pinned)) {
            ASSERT_EQ(unpin(a(), l4), ok);
        }
        // Inner tables may have been left half-way too; their next use finishes them.
        for (const MachineFrame frame : tables) {
            if (frame_look(frame).is(FrameWord::partial)) {
                PageContext context{*a().vcpu, a(), a().domain->slot};
                ASSERT_TRUE(drain_partial(context, frame));
            }
        }
        ASSERT_EQ(counts(), idle) << n;
        ASSERT_EQ(frame_audit(), 0u);
    }
}

TEST_F(PreemptionTest, DestructionWithAbandonedWork) {
    for (std::uint64_t n = 0; n < 20; ++n) {
        host::preempt_after(n);
        cero_mmuext_op op{};
        op.cmd = n % 2 == 0 ? CERO_MMUEXT_PIN_L4_TABLE : CERO_MMUEXT_UNPIN_TABLE;
        op.arg1.mfn = l4.raw();
        host::enter_cpu(*a().vcpu);
        if (n % 2 != 0) {
            host::never_preempt();
            ASSERT_EQ(pin(a(), 4, l4), ok);
            host::preempt_after(n);
        }
        static_cast<void>(
            mmuext_op(*a().vcpu, reinterpret_cast<std::uint64_t>(&op), 1, 0, CERO_DOMID_SELF));
        host::preempt_after(n % 4, true);
        destroy(a());
        host::never_preempt();
        EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 0u) << n;
        make_guest(1);
        tables.clear();
        data = new_frame(a());
        build();
    }
}

TEST_F(PreemptionTest, TeardownByUpdateIsFinishedBeforeReturning) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    const MachineFrame dropped = Pte{words(l4)[0]}.frame();
    for (std::uint64_t n = 0; n < 12; ++n) {
        const std::uint64_t entry = words(l4)[0];
        host::preempt_after(n);
        ASSERT_EQ(set_entry(a(), l4, 0, Pte{}), ok);
        EXPECT_EQ(frame_look(dropped).refs(), 1u);
        EXPECT_EQ(frame_look(dropped).type_refs(), 0u);
        EXPECT_FALSE(frame_look(dropped).is(FrameWord::partial));
        EXPECT_EQ(a().vcpu->unfinished_table, invalid_frame);
        host::preempt_after(n);
        ASSERT_EQ(set_entry(a(), l4, 0, Pte{entry}), ok);
        ASSERT_EQ(frame_audit(), 0u);
    }
}

TEST_F(PreemptionTest, LongBatchesContinue) {
    const MachineFrame l1 = new_frame(a());
    ASSERT_EQ(pin(a(), 1, l1), ok);
    std::vector<cero_mmu_update> requests;
    for (unsigned n = 0; n < 500; ++n)
        requests.push_back({entry_address(l1, n), to(data, rw).raw()});
    host::preempt_after(0, true);
    std::uint32_t done = 0;
    ASSERT_EQ(update(a(), requests, CERO_DOMID_SELF, &done), ok);
    EXPECT_EQ(done, 500u);
    EXPECT_EQ(frame_look(data).type_refs(), 500u);
}

} // namespace
} // namespace cero::test
