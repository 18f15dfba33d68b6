// SPDX-License-Identifier: BSD-2-Clause
// Multiboot2 boot information: what is there is found, and no truncation or lie reads out of
// bounds.
#include "bytes.hpp"

#include <platform/boot/multiboot2.hpp>

#include <gtest/gtest.h>

using namespace cero::platform;
using cero::arch::MemoryType;

namespace {

Bytes begin_info() {
    Bytes info;
    info.put<std::uint32_t>(0).put<std::uint32_t>(0);
    return info;
}
void begin_tag(Bytes& info, std::uint32_t type, std::uint32_t size) {
    info.align(8);
    info.put(type).put(size);
}
Bytes end_info(Bytes info) {
    begin_tag(info, 0, 8);
    info.set<std::uint32_t>(0, static_cast<std::uint32_t>(info.size()));
    return info;
}

Bytes usual() {
    Bytes info = begin_info();
    begin_tag(info, 1, 8 + 13);
    info.text("loglvl=debug");
    begin_tag(info, 3, 8 + 8 + 8);
    info.put<std::uint32_t>(0x100000).put<std::uint32_t>(0x180000).text("quiet a");
    begin_tag(info, 6, 8 + 8 + 2 * 24);
    info.put<std::uint32_t>(24).put<std::uint32_t>(0);
    info.put<std::uint64_t>(0x100000)
        .put<std::uint64_t>(0x7f00000)
        .put<std::uint32_t>(1)
        .put<std::uint32_t>(0);
    info.put<std::uint64_t>(0)
        .put<std::uint64_t>(0x9f000)
        .put<std::uint32_t>(77)
        .put<std::uint32_t>(0);
    begin_tag(info, 14, 8 + 20);
    info.text("RSD PTR ", false).pad_to(info.size() + 12);
    return end_info(info);
}

TEST(Multiboot2, FindsEverything) {
    const Bytes bytes = usual();
    Multiboot2Info info;
    ASSERT_TRUE(parse_multiboot2(bytes.span(), info));
    EXPECT_EQ(info.command_line, "loglvl=debug");
    ASSERT_EQ(info.module_count, 1u);
    EXPECT_EQ(info.modules[0].base, 0x100000u);
    EXPECT_EQ(info.modules[0].size, 0x80000u);
    EXPECT_EQ(info.modules[0].command_line, "quiet a");
    ASSERT_EQ(info.range_count, 2u);
    EXPECT_EQ(info.ranges[0].base, 0u);                   // sorted
    EXPECT_EQ(info.ranges[0].type, MemoryType::reserved); // unknown types are not RAM
    EXPECT_EQ(info.ranges[1].type, MemoryType::ram);
    EXPECT_EQ(info.rsdp.size(), 20u);
}

TEST(Multiboot2, RefusesEveryTruncation) {
    const Bytes bytes = usual();
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        Multiboot2Info info;
        EXPECT_FALSE(parse_multiboot2(bytes.first(n), info)) << n;
    }
}

TEST(Multiboot2, SurvivesEveryCorruptByte) {
    const Bytes good = usual();
    for (std::size_t at = 0; at < good.size(); ++at)
        for (const std::uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
            Bytes bad = good;
            bad.set(at, value);
            Multiboot2Info info;
            static_cast<void>(parse_multiboot2(bad.span(), info));
            EXPECT_LE(info.range_count, max_memory_ranges);
        }
}

TEST(Multiboot2, IgnoresModulesThatEndBeforeTheyStart) {
    Bytes info = begin_info();
    begin_tag(info, 3, 8 + 8 + 2);
    info.put<std::uint32_t>(0x2000).put<std::uint32_t>(0x1000).text("x");
    Multiboot2Info parsed;
    ASSERT_TRUE(parse_multiboot2(end_info(info).span(), parsed));
    EXPECT_EQ(parsed.module_count, 0u);
}

TEST(Multiboot2, SaysWhenThereIsTooMuch) {
    Bytes info = begin_info();
    for (unsigned n = 0; n < max_modules + 2; ++n) {
        begin_tag(info, 3, 8 + 8 + 1);
        info.put<std::uint32_t>(0x1000).put<std::uint32_t>(0x2000).text("");
    }
    Multiboot2Info parsed;
    const Bytes bytes = end_info(info);
    ASSERT_TRUE(parse_multiboot2(bytes.span(), parsed));
    EXPECT_EQ(parsed.module_count, max_modules);
    EXPECT_TRUE(parsed.truncated);
}

} // namespace
