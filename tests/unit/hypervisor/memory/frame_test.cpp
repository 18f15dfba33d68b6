// SPDX-License-Identifier: BSD-2-Clause
// The frame word and the counts: transitions, limits, sharing, release.
#include "fixture.hpp"

namespace cero::test {
namespace {

using FrameTest = MemoryTest;

TEST(FrameWordTest, FieldsDoNotOverlap) {
    const std::uint64_t flags = FrameWord::validated | FrameWord::partial | FrameWord::pinned |
                                FrameWord::locked | FrameWord::allocated;
    EXPECT_EQ(FrameWord::type_refs_mask ^ FrameWord::refs_mask ^ FrameWord::type_mask ^ flags ^
                  FrameWord::owner_bits(DomainSlot{1023}),
              ~0ull);
    const FrameWord word = FrameWord::owned_by(DomainSlot{5}).with_type(FrameType::l3);
    EXPECT_EQ(word.owner(), DomainSlot{5});
    EXPECT_EQ(word.refs(), 1u);
    EXPECT_EQ(word.type(), FrameType::l3);
    EXPECT_EQ(word.type_refs(), 0u);
}

TEST_F(FrameTest, GeneralReferencesKeepAFrame) {
    const MachineFrame frame = new_frame(a());
    ASSERT_TRUE(frame_get(frame, a().domain->slot));
    EXPECT_EQ(frame_look(frame).refs(), 2u);
    EXPECT_EQ(frame_get(frame, b().domain->slot).error(), Errno::inval);
    ASSERT_TRUE(frame_release_allocation(frame, a()));
    EXPECT_EQ(frame_look(frame).refs(), 1u);
    EXPECT_EQ(frame_get(frame, a().domain->slot).error(), Errno::inval) << "no new references";
    EXPECT_EQ(frame_release_allocation(frame, a()).error(), Errno::inval) << "only once";
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 1u);
    frame_put(frame);
    EXPECT_EQ(frame_look(frame).owner(), slot_free);
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 0u);
}

TEST_F(FrameTest, WritableReferencesExcludeOtherTypes) {
    const MachineFrame frame = new_frame(a());
    ASSERT_TRUE(frame_get_writable(frame, a().domain->slot));
    EXPECT_EQ(frame_look(frame).type(), FrameType::writable);
    EXPECT_EQ(get_descriptor_frame(a(), frame).error(), Errno::busy);
    EXPECT_EQ(pin(a(), 1, frame), code(Errno::busy));
    frame_put_writable(frame);
    EXPECT_EQ(pin(a(), 1, frame), ok);
    EXPECT_EQ(frame_get_writable(frame, a().domain->slot).error(), Errno::busy);
    EXPECT_EQ(unpin(a(), frame), ok);
    ASSERT_TRUE(frame_get_writable(frame, a().domain->slot));
    frame_put_writable(frame);
}

TEST_F(FrameTest, CountsNeverWrap) {
    const MachineFrame frame = new_frame(a());
    Atomic<std::uint64_t>& word = frame_word(frame);
    const std::uint64_t before = word.load(Order::relaxed);
    const std::uint64_t full = FrameWord::one_ref << (FrameWord::refs_bits - 1);
    word.fetch_add(full - FrameWord::one_ref, Order::relaxed);
    EXPECT_EQ(frame_get(frame, a().domain->slot).error(), Errno::nomem);
    EXPECT_EQ(frame_get_writable(frame, a().domain->slot).error(), Errno::nomem);
    EXPECT_EQ(pin(a(), 1, frame), code(Errno::nomem));
    EXPECT_EQ(get_descriptor_frame(a(), frame).error(), Errno::nomem);
    word.store(before, Order::relaxed);
}

TEST_F(FrameTest, SharedFramesAreMappableButNeverRetyped) {
    auto frame = share_frame_with(a());
    ASSERT_TRUE(frame);
    EXPECT_EQ(arch::m2p_get(*frame), ~0ull);
    EXPECT_EQ(a().domain->memory.total_pages.load(Order::relaxed), 0u) << "not charged";
    ASSERT_TRUE(frame_get_writable(*frame, a().domain->slot));
    EXPECT_EQ(pin(a(), 1, *frame), code(Errno::inval));
    EXPECT_EQ(get_descriptor_frame(a(), *frame).error(), Errno::inval);
    EXPECT_EQ(frame_release_allocation(*frame, a()).error(), Errno::inval);
    EXPECT_EQ(update(a(), {{to_phys(*frame).raw(), 1}}), code(Errno::inval));
    unshare_frame(*frame);
    EXPECT_EQ(frame_look(*frame).type(), FrameType::shared) << "the mapping still holds it";
    frame_put_writable(*frame);
    EXPECT_EQ(frame_look(*frame).owner(), slot_free);
}

TEST_F(FrameTest, LimitIsKept) {
    a().domain->memory.max_pages.store(3, Order::relaxed);
    EXPECT_TRUE(allocate_frame(a()));
    EXPECT_EQ(allocate_frames(a(), 2).error(), Errno::nomem);
    EXPECT_TRUE(allocate_frames(a(), 1));
    EXPECT_EQ(allocate_frame(a()).error(), Errno::nomem);
    EXPECT_EQ(a().domain->memory.total_pages.load(Order::relaxed), 3u);
}

TEST_F(FrameTest, FreeingFlushesTheOwner) {
    const MachineFrame frame = new_frame(a());
    a().domain->dirty_cpus.store(3, Order::relaxed);
    const std::uint64_t before = host::flushes.remote.load();
    ASSERT_TRUE(frame_release_allocation(frame, a()));
    EXPECT_EQ(host::flushes.remote, before + 1);
    a().domain->dirty_cpus.store(0, Order::relaxed);
}

} // namespace
} // namespace cero::test
