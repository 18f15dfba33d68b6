// SPDX-License-Identifier: BSD-2-Clause
// The domain builder: layouts, tables, contents, and every way in which an image can be wrong.
#include "builder/builder.hpp"

#include "builder/page_tables.hpp"
#include "fake_machine.hpp"
#include "test_kernel.hpp"

#include <cero/abi/grant.h>
#include <cero/abi/start_info.h>

#include <gtest/gtest.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <random>

namespace cero::builder {
namespace {

using test::FakeControl;
using test::KernelRecipe;

struct BuilderTest : testing::Test {
    FakeControl control;
    std::string directory{testing::TempDir()};
    std::string kernel_path{directory + "/kernel"};
    std::string ramdisk_path{directory + "/ramdisk"};

    void save(const std::string& path, const std::string& text) { write_file(path, text); }

    /// A guest's view: reads through the page tables, as the CPU would.
    struct View {
        const FakeControl& control;
        cero_frame level4;
        std::uint64_t entry_of(std::uint64_t address, bool* writable = nullptr) const {
            cero_frame table = level4;
            std::uint64_t entry = 0;
            for (unsigned level = 4; level >= 1; --level) {
                const auto page = control.map_frames({&table, 1});
                entry = reinterpret_cast<std::uint64_t*>(
                    page.data())[address >> (12 + 9 * (level - 1)) & 511];
                if ((entry & 1) == 0)
                    return 0;
                table = entry >> 12 & 0xffffffffff;
            }
            if (writable != nullptr)
                *writable = (entry & 2) != 0;
            return entry;
        }
        std::string read(std::uint64_t address, std::size_t size) const {
            std::string bytes;
            while (size > 0) {
                const std::uint64_t entry = entry_of(address);
                if (entry == 0)
                    return {};
                const cero_frame frame = entry >> 12 & 0xffffffffff;
                const auto page = control.map_frames({&frame, 1});
                const std::size_t chunk = std::min<std::size_t>(size, 4096 - address % 4096);
                bytes.append(reinterpret_cast<const char*>(page.data()) + address % 4096, chunk);
                address += chunk;
                size -= chunk;
            }
            return bytes;
        }
    };

    struct Guest {
        cero_domid domain;
        Built built;
        cero_start_info start;
        View view;
    };
    Guest build_guest(const KernelRecipe& recipe, std::uint64_t memory_mib,
                      std::size_t ramdisk_bytes, const std::string& command_line = "console=hvc0") {
        save(kernel_path, recipe.build());
        std::string ramdisk;
        for (std::size_t i = 0; i < ramdisk_bytes; ++i)
            ramdisk += static_cast<char>(i * 13);
        save(ramdisk_path, ramdisk);
        const Plan plan = Plan::make(kernel_path, ramdisk_bytes != 0 ? ramdisk_path : "",
                                     command_line, memory_mib);
        const cero_domid domain = control.create_domain({}, 1);
        control.set_max_memory(domain, memory_mib * 1024);
        const Built built = build(control, domain, plan);
        const auto& context = control.table[domain].context;
        const View view{control, context.ctrlreg[3] >> 12};
        cero_start_info start;
        const std::string bytes = view.read(context.user_regs.rsi, sizeof start);
        EXPECT_EQ(bytes.size(), sizeof start);
        std::memcpy(&start, bytes.data(), std::min(bytes.size(), sizeof start));
        return {domain, built, start, view};
    }

    void check_guest(const KernelRecipe& recipe, const Guest& guest, std::uint64_t memory_mib,
                     std::size_t ramdisk_bytes) {
        const auto& entry = control.table[guest.domain];
        const std::uint64_t base = recipe.virtual_base;
        EXPECT_STREQ(guest.start.magic, "xen-3.0-x86_64");
        EXPECT_EQ(guest.start.nr_pages, memory_mib * 256);
        EXPECT_EQ(guest.start.shared_info, entry.shared_info << 12);
        EXPECT_EQ(guest.start.store_mfn, guest.built.store_frame);
        EXPECT_EQ(guest.start.console.domU.evtchn, guest.built.console_port);
        EXPECT_STREQ(guest.start.cmd_line, "console=hvc0");
        EXPECT_EQ(entry.pinned, entry.context.ctrlreg[3] >> 12);
        EXPECT_EQ(entry.context.user_regs.rip, base + recipe.physical + recipe.entry_offset);
        EXPECT_EQ(entry.context.user_regs.rsp % 4096, 0u);
        // Text, the gap behind it, data, bss and the rest of the last page.
        std::string expected;
        for (std::uint64_t i = 0; i < recipe.text_size; ++i)
            expected += static_cast<char>(i * 7);
        expected.append(16, '\0');
        expected.append(recipe.data_size, 'd');
        expected.append(recipe.bss_size, '\0');
        expected.resize((expected.size() + 4095) / 4096 * 4096);
        EXPECT_EQ(guest.view.read(base + recipe.physical, expected.size()), expected);
        // The p2m names each frame once, and all of them.
        std::set<cero_frame> seen;
        const std::string list = guest.view.read(guest.start.mfn_list, guest.start.nr_pages * 8);
        ASSERT_EQ(list.size(), guest.start.nr_pages * 8);
        std::vector<cero_frame> frames(guest.start.nr_pages);
        std::memcpy(frames.data(), list.data(), list.size());
        seen.insert(frames.begin(), frames.end());
        EXPECT_EQ(seen, (std::set<cero_frame>{entry.frames.begin(), entry.frames.end()}));
        if (recipe.p2m_base != 0) {
            EXPECT_EQ(guest.start.mfn_list, recipe.p2m_base);
            EXPECT_NE(guest.start.nr_p2m_frames, 0u);
        }
        // Every page of the mapping is PFN n at base + n pages; exactly the tables are read-only.
        const std::uint64_t tables = (guest.start.pt_base - base) / 4096;
        std::uint64_t mapped = 0;
        for (std::uint64_t pfn = 0;; ++pfn, ++mapped) {
            bool writable = false;
            const std::uint64_t leaf = guest.view.entry_of(base + pfn * 4096, &writable);
            if (leaf == 0)
                break;
            ASSERT_EQ(leaf >> 12 & 0xffffffffff, frames[pfn]) << pfn;
            ASSERT_EQ(writable, pfn < tables || pfn >= tables + guest.start.nr_pt_frames) << pfn;
        }
        EXPECT_EQ((base / 4096 + mapped) % 1024, 0u); // up to a 4 MiB boundary
        const std::uint64_t stack_end = (entry.context.user_regs.rsp - base) / 4096;
        EXPECT_GE(mapped - stack_end, 128u);
        // The ramdisk.
        EXPECT_EQ(guest.start.mod_len, ramdisk_bytes);
        if (ramdisk_bytes != 0) {
            std::string ramdisk;
            for (std::size_t i = 0; i < ramdisk_bytes; ++i)
                ramdisk += static_cast<char>(i * 13);
            ramdisk.resize((ramdisk_bytes + 4095) / 4096 * 4096);
            if (recipe.ramdisk_by_frame) {
                EXPECT_EQ(guest.start.flags & CERO_SIF_MOD_START_PFN, CERO_SIF_MOD_START_PFN);
                EXPECT_GE(guest.start.mod_start, mapped);
                const auto pages = control.map_frames(
                    std::span{frames}.subspan(guest.start.mod_start, ramdisk.size() / 4096));
                EXPECT_EQ(std::memcmp(pages.data(), ramdisk.data(), ramdisk.size()), 0);
            } else {
                EXPECT_EQ(guest.view.read(guest.start.mod_start, ramdisk.size()), ramdisk);
            }
        }
        // Grants of console and store, masked events, empty rings.
        const cero_frame shared[] = {entry.grant_table, entry.shared_info, guest.built.store_frame};
        const auto pages = control.map_frames(shared);
        const auto* grants = reinterpret_cast<const cero_grant_entry_v1*>(pages.data());
        EXPECT_EQ(grants[0].frame, guest.built.console_frame);
        EXPECT_EQ(grants[1].frame, guest.built.store_frame);
        EXPECT_EQ(grants[1].flags, CERO_GTF_permit_access);
        EXPECT_EQ(pages.data()[4096 + 1], 1);
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(pages.data()) + 8192, 4096),
                  std::string(4096, '\0'));
    }

    std::string refusal(const std::string& path, std::uint64_t memory_mib = 32) {
        try {
            (void)Plan::make(path, "", "", memory_mib);
        } catch (const Error& error) {
            EXPECT_FALSE(error.remedy().empty()) << error.what();
            return error.what();
        }
        return "(accepted)";
    }
    std::string refusal(const KernelRecipe& recipe) {
        save(kernel_path, recipe.build());
        return refusal(kernel_path);
    }
};

TEST_F(BuilderTest, PlainKernel) {
    const KernelRecipe recipe;
    const Guest guest = build_guest(recipe, 8, 0);
    check_guest(recipe, guest, 8, 0);
    EXPECT_NE(control.table[guest.domain].hypercall_page, 0u);
}

TEST_F(BuilderTest, RamdiskAndListInsideTheMapping) {
    KernelRecipe recipe;
    recipe.has_hypercall_page = false;
    const Guest guest = build_guest(recipe, 16, 1234567);
    check_guest(recipe, guest, 16, 1234567);
}

TEST_F(BuilderTest, RamdiskAndListOutsideTheMapping) {
    KernelRecipe recipe;
    recipe.ramdisk_by_frame = true;
    recipe.p2m_base = 0x8000000000;
    recipe.physical = 0x1000000;
    recipe.features = "!writable_page_tables|pae_pgdir_above_4gb";
    const Guest guest = build_guest(recipe, 40, 2000001);
    check_guest(recipe, guest, 40, 2000001);
}

TEST_F(BuilderTest, KernelAtAddressZero) {
    KernelRecipe recipe;
    recipe.virtual_base = 0;
    recipe.physical = 0;
    recipe.entry_offset = 0;
    const Guest guest = build_guest(recipe, 8, 100);
    check_guest(recipe, guest, 8, 100);
}

TEST_F(BuilderTest, LayoutsOfRandomSizesDoNotOverlap) {
    std::mt19937_64 random{5};
    for (int round = 0; round < 2000; ++round) {
        KernelImage kernel;
        kernel.virtual_base = random() % 2 == 0 ? 0xffffffff80000000 : random() % 64 * 0x200000;
        kernel.start = random() % 5000 * 4096;
        kernel.end = kernel.start + (1 + random() % 5000) * 4096;
        kernel.ramdisk_by_frame = random() % 2 == 0;
        if (random() % 2 == 0)
            kernel.p2m_base = 0x8000000000 + random() % 600 * 0x1000;
        const std::uint64_t ramdisk = random() % 2 == 0 ? 0 : random() % 30000000;
        const std::uint64_t pages = 4096 + random() % 400000;
        Layout layout;
        try {
            layout = plan_layout(kernel, pages, ramdisk, "kernel");
        } catch (const Error&) {
            continue;
        }
        std::vector<FrameRange> ranges{layout.kernel, layout.specials(), layout.ramdisk, layout.p2m,
                                       layout.p2m_tables};
        std::erase_if(ranges, [](const FrameRange& range) { return range.count == 0; });
        std::ranges::sort(ranges, {}, &FrameRange::first);
        for (std::size_t i = 0; i + 1 < ranges.size(); ++i)
            ASSERT_LE(ranges[i].end(), ranges[i + 1].first);
        for (const FrameRange& range : ranges)
            ASSERT_LE(range.end(), pages);
        ASSERT_EQ(layout.tables.count,
                  1 + layout.level3_tables + layout.level2_tables + layout.level1_tables);
        ASSERT_GE(layout.mapped_pages, layout.stack + 1 + 128);
    }
}

std::string gzip(const std::string& text) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string xz(const std::string& text) {
    std::string out(lzma_stream_buffer_bound(text.size()), '\0');
    std::size_t size = 0;
    (void)!lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr,
                                   reinterpret_cast<const std::uint8_t*>(text.data()), text.size(),
                                   reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size());
    out.resize(size);
    return out;
}

std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
    ZSTD_freeCCtx(context);
    return out;
}

/// As `lz4 -l` packs, with blocks of less than its 8 MiB, and the size behind it that Linux adds.
std::string lz4(const std::string& text) {
    std::string out = "\x02\x21\x4c\x18";
    const auto append = [&out](std::size_t value) {
        const auto word = static_cast<std::uint32_t>(value);
        out.append(reinterpret_cast<const char*>(&word), sizeof word);
    };
    for (std::size_t at = 0; at < text.size(); at += 100000) {
        const std::string part = text.substr(at, 100000);
        std::string block(
            static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(part.size()))), '\0');
        block.resize(static_cast<std::size_t>(
            LZ4_compress_default(part.data(), block.data(), static_cast<int>(part.size()),
                                 static_cast<int>(block.size()))));
        append(block.size());
        out += block;
    }
    append(text.size());
    return out;
}

std::string bzimage(const std::string& payload) {
    std::string file(2048, '\0');
    file[0x1f1] = 1;
    file.replace(0x202, 4, "HdrS");
    file[0x206] = 0x0f;
    file[0x207] = 0x02;
    const std::uint32_t offset = 64;
    const auto size = static_cast<std::uint32_t>(payload.size() + 4);
    std::memcpy(file.data() + 0x248, &offset, 4);
    std::memcpy(file.data() + 0x24c, &size, 4);
    file.resize(1024 + offset);
    return file + payload + "size";
}

TEST_F(BuilderTest, CompressedKernels) {
    KernelRecipe recipe;
    recipe.text_size = 300000;
    const std::string raw = recipe.build();
    for (const std::string& packed : {gzip(raw), xz(raw), zstd(raw)}) {
        for (const std::string& file : {packed, bzimage(packed)}) {
            save(kernel_path, file);
            const Plan plan = Plan::make(kernel_path, "", "", 16);
            EXPECT_EQ(plan.kernel().segments.size(), 2u);
            save(kernel_path, file.substr(0, file.size() / 2));
            EXPECT_NE(refusal(kernel_path), "(accepted)");
            std::string corrupt = file;
            char& victim = corrupt[file.size() - packed.size() / 2];
            victim = static_cast<char>(victim ^ 0x55);
            save(kernel_path, corrupt);
            EXPECT_NE(refusal(kernel_path), "(accepted)");
        }
    }
    save(kernel_path, "BZh91AY&SY rest");
    EXPECT_NE(refusal(kernel_path).find("bzip2 compression is not supported"), std::string::npos);
}

TEST_F(BuilderTest, Lz4HasNoChecksumButASize) {
    KernelRecipe recipe;
    recipe.text_size = 300000;
    const std::string packed = lz4(recipe.build());
    const auto accepts = [&](const std::string& payload) {
        std::string file = bzimage(payload);
        file.resize(file.size() - 4); // the size is in it
        const auto size = static_cast<std::uint32_t>(payload.size());
        std::memcpy(file.data() + 0x24c, &size, 4);
        save(kernel_path, file);
        return refusal(kernel_path);
    };
    EXPECT_EQ(accepts(packed), "(accepted)");
    save(kernel_path, packed);
    EXPECT_EQ(refusal(kernel_path), "(accepted)");
    EXPECT_EQ(accepts(packed.substr(0, packed.size() - 4)), "(accepted)")
        << "without the size, as lz4 -l leaves it";
    for (const std::size_t cut :
         {std::size_t{1}, std::size_t{5}, std::size_t{100}, packed.size() / 2})
        EXPECT_NE(accepts(packed.substr(0, packed.size() - cut)).find("lz4 data is corrupt"),
                  std::string::npos)
            << cut;
    std::string wrong_size = packed;
    wrong_size.back() = 1;
    EXPECT_NE(accepts(wrong_size).find("lz4 data is corrupt"), std::string::npos);
    std::string wrong_block = packed;
    wrong_block[7] = 1;
    EXPECT_NE(accepts(wrong_block).find("lz4 data is corrupt"), std::string::npos);
}

TEST_F(BuilderTest, TheLimitOfAnUnpackedKernelIsNamed) {
    constexpr std::size_t limit = 4 << 20;
    const auto message = [&](const std::string& file) -> std::string {
        try {
            (void)unwrap_kernel(
                std::make_unique<MemorySource>(std::vector<std::uint8_t>{file.begin(), file.end()}),
                "/boot/huge", limit);
        } catch (const Error& error) {
            EXPECT_FALSE(error.remedy().empty());
            return error.what();
        }
        return "(accepted)";
    };
    for (const auto& pack : {&gzip, &xz, &zstd, &lz4}) {
        EXPECT_EQ(message(pack(std::string(limit - 1, 'k'))), "(accepted)");
        for (const std::size_t size : {limit, limit + 1, 3 * limit}) {
            const std::string text = message(pack(std::string(size, 'k')));
            EXPECT_NE(text.find("4 MiB"), std::string::npos) << text;
            EXPECT_EQ(text.find("corrupt"), std::string::npos) << text;
        }
        const std::string cut = pack(KernelRecipe{}.build());
        EXPECT_NE(message(cut.substr(0, cut.size() / 2)).find("truncated"), std::string::npos);
    }
}

TEST_F(BuilderTest, WrongKernelsAreNamed) {
    const auto expect = [&](const KernelRecipe& recipe, const char* text) {
        const std::string message = refusal(recipe);
        EXPECT_NE(message.find(text), std::string::npos) << message;
        EXPECT_NE(message.find(kernel_path), std::string::npos) << message;
    };
    KernelRecipe recipe;
    recipe.has_notes = false;
    expect(recipe, "no Xen ELF notes");
    recipe = {};
    recipe.only_pvh = true;
    expect(recipe, "PVH");
    recipe = {};
    recipe.elf_class = ELFCLASS32;
    expect(recipe, "32-bit");
    recipe = {};
    recipe.version = "xen-9.9";
    expect(recipe, "xen-9.9");
    recipe = {};
    recipe.has_entry = false;
    expect(recipe, "entry point");
    recipe = {};
    recipe.entry_offset = 1 << 25;
    expect(recipe, "entry point");
    recipe = {};
    recipe.virtual_base = 0xffff800000000000;
    expect(recipe, "hypervisor's part");
    recipe = {};
    recipe.bss_size = std::uint64_t{2} << 30;
    expect(recipe, "first GiB");
    recipe = {};
    recipe.features = "!auto_translated_physmap";
    expect(recipe, "auto_translated");
    recipe = {};
    recipe.bss_size = 60 << 20;
    expect(recipe, "too little memory");
}

TEST_F(BuilderTest, EveryTruncationIsRefusedOrWhole) {
    KernelRecipe recipe;
    recipe.text_size = 3000;
    const std::string file = recipe.build();
    for (std::size_t size = 0; size < file.size(); size += 37) {
        save(kernel_path, file.substr(0, size));
        EXPECT_NE(refusal(kernel_path), "(accepted)") << size;
    }
    EXPECT_NE(refusal("/nowhere/kernel").find("No such file"), std::string::npos);
}

TEST_F(BuilderTest, RandomDamageNeverDoesHarm) {
    std::mt19937 random{11};
    const std::string file = KernelRecipe{}.build();
    for (int round = 0; round < 3000; ++round) {
        std::string damaged = file;
        for (int i = 0; i < 4; ++i) {
            const std::size_t at =
                random() % 3 == 0 ? random() % 232 : damaged.size() - 1 - random() % 200;
            damaged[at] = static_cast<char>(random());
        }
        try {
            const MemorySource source{{damaged.begin(), damaged.end()}};
            const KernelImage image = parse_kernel(source, "kernel");
            const Layout layout = plan_layout(image, 65536, 0, "kernel");
            EXPECT_LE(layout.stack, 65536u);
        } catch (const Error&) {
        }
    }
}

TEST_F(BuilderTest, LongCommandLinesAndEmptyRamdisks) {
    save(kernel_path, KernelRecipe{}.build());
    EXPECT_THROW((void)Plan::make(kernel_path, "", std::string(1024, 'x'), 8), Error);
    EXPECT_NO_THROW((void)Plan::make(kernel_path, "", std::string(1023, 'x'), 8));
    save(ramdisk_path, "");
    EXPECT_THROW((void)Plan::make(kernel_path, ramdisk_path, "", 8), Error);
    save(ramdisk_path, std::string(9 << 20, 'r'));
    EXPECT_THROW((void)Plan::make(kernel_path, ramdisk_path, "", 8), Error);
}

} // namespace
} // namespace cero::builder
