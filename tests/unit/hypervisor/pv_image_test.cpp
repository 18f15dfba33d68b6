// SPDX-License-Identifier: BSD-2-Clause
// The kernel parser, the layout, and the control domain's builder, on made-up kernels.
#include <cero/abi/start_info.h>
#include <core/boot/dom0.hpp>
#include <core/boot/pv_image.hpp>
#include <core/domain/domain.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/paging/mmu_ops.hpp>

#include "../../support/host_arch/host_arch.hpp"
#include "elf_builder.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace cero {
namespace {

std::optional<PvImage> parse(const std::vector<std::byte>& file, std::string* why = nullptr) {
    const char* problem = nullptr;
    auto image = parse_pv_image(file, problem);
    if (why != nullptr && problem != nullptr)
        *why = problem;
    return image;
}

TEST(PvImage, ReadsANormalKernel) {
    const auto image = parse(test::linux_like().build());
    ASSERT_TRUE(image);
    EXPECT_EQ(image->virt_base, 0xffffffff80000000ull);
    EXPECT_EQ(image->entry, 0xffffffff80200010ull);
    EXPECT_EQ(image->segment_count, 2u);
    EXPECT_EQ(image->segments[1].address, 0xffffffff80202000ull) << "by physical address";
    EXPECT_EQ(image->end, 0xffffffff80202000ull + 0x3000);
    EXPECT_EQ(image->init_p2m, 0x8000000000ull);
    EXPECT_TRUE(image->ramdisk_by_frame);
    EXPECT_FALSE(image->hypercall_page);
}

TEST(PvImage, SaysWhatIsWrong) {
    std::string why;
    EXPECT_FALSE(parse({}, &why));
    EXPECT_NE(why.find("too short"), std::string::npos);
    auto file = test::linux_like().build();
    auto broken = file;
    broken[4] = std::byte{1};
    EXPECT_FALSE(parse(broken, &why));
    EXPECT_NE(why.find("64-bit"), std::string::npos);
    broken = file;
    broken.resize(file.size() / 2);
    EXPECT_FALSE(parse(broken, &why));
    EXPECT_NE(why.find("truncated"), std::string::npos);
    test::ElfBuilder plain = test::linux_like();
    plain.notes.clear();
    EXPECT_FALSE(parse(plain.build(), &why));
    EXPECT_NE(why.find("not a PV kernel"), std::string::npos);
    test::ElfBuilder other = test::linux_like();
    other.notes.front().second = test::text("xen-2.0");
    EXPECT_FALSE(parse(other.build(), &why));
    EXPECT_NE(why.find("xen-3.0"), std::string::npos);
    std::vector<std::byte> zipped(1024);
    zipped[0] = std::byte{0x1f};
    zipped[1] = std::byte{0x8b};
    EXPECT_FALSE(parse(zipped, &why));
    EXPECT_NE(why.find("gzip"), std::string::npos);
    std::memcpy(zipped.data() + 0x202, "HdrS", 4);
    EXPECT_FALSE(parse(zipped, &why));
    EXPECT_NE(why.find("vmlinux"), std::string::npos);
    test::ElfBuilder outside = test::linux_like();
    outside.set_note(CERO_ELFNOTE_ENTRY, 0x1000);
    EXPECT_FALSE(parse(outside.build(), &why));
    EXPECT_NE(why.find("entry"), std::string::npos);
}

TEST(PvImage, GarbageNeverCrashes) {
    std::mt19937 random{3};
    const auto file = test::linux_like().build();
    for (unsigned round = 0; round < 30000; ++round) {
        auto mutated = file;
        for (unsigned n = 0; n < 1 + random() % 6; ++n)
            mutated[random() % std::min<std::size_t>(mutated.size(), 0x400)] =
                static_cast<std::byte>(random());
        if (random() % 4 == 0)
            mutated.resize(random() % mutated.size());
        const auto image = parse(mutated);
        if (!image)
            continue;
        for (unsigned n = 0; n < image->segment_count; ++n) {
            const PvImage::Segment& segment = image->segments[n];
            ASSERT_LE(segment.file_offset + segment.file_bytes, mutated.size());
            ASSERT_LE(segment.file_bytes, segment.memory_bytes);
            ASSERT_GE(segment.address, image->virt_base);
            ASSERT_LE(segment.address + segment.memory_bytes, image->end);
        }
        auto layout = lay_out(*image, 100'000, 5'000'000);
        if (layout) {
            ASSERT_LE(layout->needed, 100'000u);
            ASSERT_LT(layout->stack, layout->mapped);
        }
    }
}

TEST(Layout, PlacesTheRamdiskByTheNotes) {
    auto image = *parse(test::linux_like().build());
    auto layout = lay_out(image, 20000, 10000);
    ASSERT_TRUE(layout);
    EXPECT_FALSE(layout->ramdisk_mapped);
    EXPECT_GE(layout->ramdisk, layout->mapped);
    EXPECT_EQ(layout->ramdisk_frames, 3u);
    EXPECT_EQ(layout->mapped % 1024, 0u);
    EXPECT_EQ(layout->table_frames, 1 + 1 + 1 + layout->mapped / 512);
    EXPECT_EQ(layout->p2m_frames, 40u);
    EXPECT_EQ(layout->p2m_tables, 3u);
    image.ramdisk_by_frame = false;
    image.init_p2m.reset();
    auto mapped = lay_out(image, 20000, 10000);
    ASSERT_TRUE(mapped);
    EXPECT_TRUE(mapped->ramdisk_mapped);
    EXPECT_LT(mapped->ramdisk, mapped->start_info);
    EXPECT_LT(mapped->p2m, mapped->start_info);
    EXPECT_EQ(lay_out(image, 700, 10000).error(), Errno::nomem);
}

TEST(Options, SizesAreParsed) {
    EXPECT_EQ(parse_size("256M"), 256ull << 20);
    EXPECT_EQ(parse_size("1g,max:2g"), 1ull << 30);
    EXPECT_EQ(parse_size("77"), 77u);
    EXPECT_FALSE(parse_size(""));
    EXPECT_FALSE(parse_size("M"));
    EXPECT_FALSE(parse_size("12Q"));
    EXPECT_FALSE(parse_size("12MB"));
    EXPECT_FALSE(parse_size("99999999999999999999"));
    EXPECT_FALSE(parse_size("99999999999T"));
}

TEST(HypercallPage, HoldsTheStubs) {
    unsigned char page[page_size];
    fill_hypercall_page(page);
    const unsigned char mmu_update[] = {0x51, 0x41, 0x53, 0xb8, 1,    0,    0,
                                        0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
    EXPECT_EQ(std::memcmp(page + 32, mmu_update, sizeof mmu_update), 0);
    const unsigned char iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05};
    EXPECT_EQ(std::memcmp(page + 23 * 32, iret, sizeof iret), 0);
}

class Builder : public testing::Test {
protected:
    void SetUp() override { host::boot(); }
    /// Puts a file where a boot loader would: frames outside the allocator.
    void add_module(const std::vector<std::byte>& bytes, const char* line) {
        unsigned order = 0;
        while ((page_size << order) < bytes.size())
            ++order;
        const auto frames = allocate_hypervisor_frames(order);
        ASSERT_TRUE(frames);
        std::memcpy(arch::direct_map(*frames), bytes.data(), bytes.size());
        host::state().modules.push_back({(*frames).raw() << page_shift, bytes.size(), line});
    }
};

TEST_F(Builder, NamesWhatIsMissingOrTooBig) {
    EXPECT_FALSE(build_control_domain());
    EXPECT_NE(host::state().log.back().find("module2"), std::string::npos);
    add_module(test::linux_like().build(), "");
    host::state().options["dom0_mem"] = "2M";
    EXPECT_FALSE(build_control_domain());
    EXPECT_NE(host::state().log.back().find("raise dom0_mem"), std::string::npos);
    host::state().options["dom0_mem"] = "2G";
    EXPECT_FALSE(build_control_domain());
    EXPECT_NE(host::state().log.back().find("lower dom0_mem"), std::string::npos);
    host::state().options.clear();
    host::state().modules.clear();
    EXPECT_EQ(control_domain(), nullptr);
}

/// What the guest would read at a virtual address.
template <typename T>
T* guest(Domain& domain, std::uint64_t address) {
    const MappedEntry at = look_up(domain.vcpus[0]->kernel_root, GuestVirt{address});
    EXPECT_TRUE(at.entry.is_present()) << std::hex << address;
    return reinterpret_cast<T*>(arch::frame_ptr<char>(at.entry.frame()) + address % page_size);
}

TEST_F(Builder, MakesTheStartOfDay) {
    const auto kernel = test::linux_like();
    const auto file = kernel.build();
    add_module(file, "console=hvc0 quiet");
    std::vector<std::byte> ramdisk(3 * page_size + 100, std::byte{0x5a});
    add_module(ramdisk, "");
    host::state().options["dom0_mem"] = "24M";
    host::state().options["dom0_max_vcpus"] = "2";
    ASSERT_TRUE(build_control_domain()) << host::state().log.back();
    Domain& domain = *control_domain();
    Vcpu& vcpu = *domain.vcpus[0];
    EXPECT_EQ(domain.memory.total_pages.load(Order::relaxed), 24u << 8);
    EXPECT_EQ(domain.vcpu_limit, 2u);
    EXPECT_TRUE(is_runnable(vcpu));
    EXPECT_FALSE(is_runnable(*domain.vcpus[1]));
    EXPECT_EQ(vcpu.arch.regs.rip, 0xffffffff80200010ull);
    EXPECT_TRUE(frame_look(vcpu.kernel_root).is(FrameWord::pinned));

    const auto& info = *guest<cero_start_info>(domain, vcpu.arch.regs.rsi);
    EXPECT_STREQ(info.magic, CERO_START_INFO_MAGIC);
    EXPECT_EQ(info.nr_pages, 24u << 8);
    EXPECT_EQ(info.flags, CERO_SIF_PRIVILEGED | CERO_SIF_INITDOMAIN | CERO_SIF_MOD_START_PFN);
    EXPECT_STREQ(info.cmd_line, "console=hvc0 quiet");
    EXPECT_EQ(info.mod_len, ramdisk.size());
    EXPECT_EQ(info.mfn_list, 0x8000000000ull);
    EXPECT_EQ(info.shared_info, domain.shared_info_frame.raw() << page_shift);

    // Code as in the file, bss zeroed; every frame in both tables.
    const auto* code = guest<std::byte>(domain, 0xffffffff80200000ull);
    EXPECT_EQ(std::memcmp(code, file.data() + kernel.data_offset(0), 64), 0);
    EXPECT_EQ(*guest<std::uint64_t>(domain, 0xffffffff80204000ull), 0u);
    for (std::uint64_t pfn = 0; pfn < info.nr_pages; ++pfn) {
        const std::uint64_t mfn = *guest<std::uint64_t>(domain, info.mfn_list + pfn * 8);
        ASSERT_EQ(arch::m2p_get(MachineFrame{mfn}), pfn);
        ASSERT_TRUE(frame_look(MachineFrame{mfn}).is_owned_by(domain.slot));
    }
    const auto* list = guest<std::uint64_t>(domain, info.mfn_list + info.mod_start * 8);
    EXPECT_EQ(list[0], host::state().modules[1].base >> page_shift) << "taken where it is";
    for (unsigned page = 0; page < 4; ++page)
        EXPECT_EQ(*arch::frame_ptr<std::byte>(MachineFrame{list[page]}), std::byte{0x5a});
    EXPECT_EQ(arch::frame_ptr<std::byte>(MachineFrame{list[3]})[100], std::byte{0});
    // Page tables are mapped read-only, the rest writable.
    for (std::uint64_t n = 0; n < info.nr_pt_frames; ++n)
        EXPECT_FALSE(
            look_up(vcpu.kernel_root, GuestVirt{info.pt_base + n * page_size}).entry.is_writable());
    EXPECT_TRUE(look_up(vcpu.kernel_root, GuestVirt{info.pt_base - page_size}).entry.is_writable());
    EXPECT_TRUE(look_up(vcpu.kernel_root, GuestVirt{vcpu.arch.regs.rsp - 8}).entry.is_writable());
    EXPECT_EQ(vcpu.arch.regs.rsp, info.pt_base + (info.nr_pt_frames + 1) * page_size);
}

} // namespace
} // namespace cero
