// SPDX-License-Identifier: BSD-2-Clause
// ELF headers: a good one, each way to be bad, and random damage.
#include "process/elf.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace {

using namespace kernel;

struct Program {
    ElfHeader header{};
    ElfSegment segments[2]{};
    static constexpr std::uint64_t file_size = 0x3000;

    Program() {
        const std::uint8_t ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
        std::memcpy(header.ident, ident, sizeof ident);
        header.type = 2;
        header.machine = 62;
        header.entry = 0x401000;
        header.program_offset = sizeof header;
        header.program_entry_size = sizeof(ElfSegment);
        header.program_count = 2;
        segments[0] = {elf_load, elf_read | elf_exec, 0, 0x400000, 0, 0x1800, 0x1800, 0x1000};
        segments[1] = {elf_load, elf_read | elf_write, 0x2010, 0x403010, 0, 0x100, 0x5000, 0x1000};
    }
    [[nodiscard]] std::vector<char> bytes() const {
        std::vector<char> out(sizeof header + sizeof segments);
        std::memcpy(out.data(), &header, sizeof header);
        std::memcpy(out.data() + sizeof header, segments, sizeof segments);
        return out;
    }
    [[nodiscard]] Errno parse() const {
        const auto data = bytes();
        return parse_elf(data.data(), data.size(), file_size).error();
    }
};

TEST(Elf, GoodProgram) {
    const auto data = Program{}.bytes();
    auto image = parse_elf(data.data(), data.size(), Program::file_size);
    ASSERT_TRUE(image);
    EXPECT_EQ(image->entry, 0x401000U);
    EXPECT_EQ(image->load_count, 2U);
    EXPECT_EQ(image->low, 0x400000U);
    EXPECT_EQ(image->high, 0x409000U);
    EXPECT_EQ(image->program_headers, 0x400000U + sizeof(ElfHeader));
    EXPECT_FALSE(image->relocatable);
}

TEST(Elf, EachDefectIsRefused) {
    const auto refused = [](auto damage) {
        Program program;
        damage(program);
        return program.parse() == Errno::noexec;
    };
    EXPECT_TRUE(refused([](Program& p) { p.header.ident[0] = 0; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.ident[4] = 1; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.machine = 3; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.type = 1; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.program_count = 0; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.program_count = 0xffff; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.program_offset = ~0ULL; }));
    EXPECT_TRUE(refused([](Program& p) { p.header.program_entry_size = 8; }));
    EXPECT_TRUE(refused([](Program& p) { p.segments[0].file_size = 0x1900; })); // above memory
    EXPECT_TRUE(
        refused([](Program& p) { p.segments[1].offset = Program::file_size; })); // behind the end
    EXPECT_TRUE(refused([](Program& p) { p.segments[1].offset = 0x2000; }));     // not congruent
    EXPECT_TRUE(refused([](Program& p) { p.segments[1].address = 0x401010; }));  // overlap
    EXPECT_TRUE(refused([](Program& p) { p.segments[1].address = 0xffff800000000010; }));
    EXPECT_TRUE(refused([](Program& p) { p.segments[1].memory_size = ~0ULL; }));
    EXPECT_TRUE(refused(
        [](Program& p) { p.segments[0].type = p.segments[1].type = 0; })); // nothing to load
}

TEST(Elf, DamageNeverYieldsNonsense) {
    std::mt19937 random{1};
    for (int round = 0; round < 200'000; ++round) {
        auto data = Program{}.bytes();
        for (int i = 0; i < 3; ++i)
            data[random() % data.size()] = static_cast<char>(random());
        data.resize(random() % 8 == 0 ? random() % data.size() : data.size());
        auto image = parse_elf(data.data(), data.size(), Program::file_size);
        if (!image)
            continue;
        ASSERT_LE(image->load_count, elf_max_segments);
        ASSERT_LE(image->low, image->high);
        ASSERT_LE(image->high, 0x800000000000U);
    }
}

} // namespace
