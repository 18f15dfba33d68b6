// SPDX-License-Identifier: BSD-2-Clause
// Descriptor pages: what is fixed, what is refused, and who may write them.
#include "fixture.hpp"

#include <arch/api/hooks.hpp>

namespace cero::test {
namespace {

using DescriptorTest = MemoryTest;

constexpr std::uint64_t code64 = 0x00af9b000000ffffull;
constexpr std::uint64_t dpl3 = 3ull << 45;

TEST(FixDescriptorTest, Rules) {
    std::uint64_t value = code64;
    EXPECT_TRUE(fix_descriptor(value));
    EXPECT_EQ(value, code64 | dpl3);
    value = 0x1234;
    EXPECT_TRUE(fix_descriptor(value)) << "not present";
    EXPECT_EQ(value, 0x1234u);
    for (unsigned type = 0; type < 16; ++type) {
        value = (1ull << 47) | (std::uint64_t{type} << 40);
        EXPECT_EQ(fix_descriptor(value), type == 0) << type;
    }
}

TEST_F(DescriptorTest, PagesAreCheckedAndHeld) {
    const MachineFrame page = new_frame(a());
    words(page)[2] = code64;
    ASSERT_TRUE(get_descriptor_frame(a(), page));
    EXPECT_EQ(words(page)[2], code64 | dpl3);
    EXPECT_EQ(frame_get_writable(page, a().domain->slot).error(), Errno::busy);
    ASSERT_TRUE(get_descriptor_frame(a(), page)) << "a second vCPU";
    put_descriptor_frame(page);
    put_descriptor_frame(page);
    ASSERT_TRUE(frame_get_writable(page, a().domain->slot));
    EXPECT_EQ(get_descriptor_frame(a(), page).error(), Errno::busy);
    words(page)[3] = (1ull << 47) | (0xeull << 40); // an interrupt gate
    frame_put_writable(page);
    EXPECT_EQ(get_descriptor_frame(a(), page).error(), Errno::inval);
    EXPECT_EQ(frame_look(page).refs(), 1u);
    EXPECT_EQ(get_descriptor_frame(b(), page).error(), Errno::inval);
}

TEST_F(DescriptorTest, Updates) {
    const MachineFrame page = new_frame(a());
    ASSERT_TRUE(get_descriptor_frame(a(), page));
    host::enter_cpu(*a().vcpu);
    EXPECT_TRUE(update_descriptor(*a().vcpu, entry_address(page, 12), code64));
    EXPECT_EQ(words(page)[12], code64 | dpl3);
    const std::uint64_t gate = (1ull << 47) | (0xfull << 40);
    EXPECT_EQ(update_descriptor(*a().vcpu, entry_address(page, 13), gate).error(), Errno::inval);
    EXPECT_EQ(update_descriptor(*a().vcpu, entry_address(page, 13) + 4, 0).error(), Errno::inval);
    EXPECT_EQ(update_descriptor(*a().vcpu, ~7ull, 0).error(), Errno::inval);
    EXPECT_EQ(update_descriptor(*b().vcpu, entry_address(page, 13), 0).error(), Errno::inval);
    put_descriptor_frame(page);
    const MachineFrame plain = new_frame(a());
    EXPECT_TRUE(update_descriptor(*a().vcpu, entry_address(plain, 1), code64)) << "ordinary memory";
    const MachineFrame table = new_frame(a());
    ASSERT_EQ(pin(a(), 1, table), ok);
    EXPECT_EQ(update_descriptor(*a().vcpu, entry_address(table, 1), 0).error(), Errno::inval);
}

TEST_F(DescriptorTest, LdtPagesAreFoundThroughTheTables) {
    const MachineFrame l4 = new_frame(a()), l3 = new_frame(a()), l2 = new_frame(a()),
                       l1 = new_frame(a()), page = new_frame(a()), writable = new_frame(a());
    words(l4)[0] = to(l3, table_bits).raw();
    words(l3)[0] = to(l2, table_bits).raw();
    words(l2)[0] = to(l1, table_bits).raw();
    words(l1)[7] = to(page, ro).raw();
    words(l1)[8] = to(writable, rw).raw();
    ASSERT_TRUE(set_vcpu_roots(*dom0().vcpu, *a().vcpu, l4, invalid_frame));
    Vcpu& vcpu = *a().vcpu;
    ASSERT_EQ(ext(a(), CERO_MMUEXT_SET_LDT, 7ull << page_shift, 1024), ok);
    auto found = core::ldt_page(vcpu, 0);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, page);
    vcpu.arch.ldt_frames[0] = page;
    vcpu.arch.ldt_mapped = 1;
    EXPECT_EQ(core::ldt_page(vcpu, 1).error(), Errno::busy) << "mapped writable";
    EXPECT_EQ(core::ldt_page(vcpu, 2).error(), Errno::fault);
    EXPECT_EQ(frame_audit(), 0u);
    ASSERT_EQ(ext(a(), CERO_MMUEXT_SET_LDT, 0, 0), ok);
    EXPECT_EQ(frame_look(page).type_refs(), 0u);
}

} // namespace
} // namespace cero::test
