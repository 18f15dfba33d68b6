// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's command line.
#include <platform/boot/options.hpp>

#include <gtest/gtest.h>

using namespace cero::platform;

namespace {

TEST(Options, LastOneWins) {
    EXPECT_EQ(find_option("loglvl=info x loglvl=debug", "loglvl"), "debug");
    EXPECT_EQ(find_option("  noreboot\tmaxcpus=2", "noreboot"), "");
    EXPECT_EQ(find_option("xloglvl=info", "loglvl"), std::nullopt);
    EXPECT_EQ(find_option("", "loglvl"), std::nullopt);
    EXPECT_EQ(find_option("com1=", "com1"), "");
}

TEST(Options, KnowsItsNames) {
    EXPECT_TRUE(is_known_option("dom0_mem=1G"));
    EXPECT_TRUE(is_known_option("noreboot"));
    EXPECT_FALSE(is_known_option("dom0_me=1G"));
    EXPECT_FALSE(is_known_option("=1"));
}

TEST(Options, Numbers) {
    EXPECT_EQ(parse_number("0"), 0u);
    EXPECT_EQ(parse_number("115200"), 115200u);
    EXPECT_EQ(parse_number("0xFf"), 255u);
    EXPECT_EQ(parse_number("18446744073709551615"), ~0ull);
    EXPECT_EQ(parse_number("18446744073709551616"), std::nullopt);
    for (const char* bad : {"", "0x", "12a", "-1", " 1", "f"})
        EXPECT_EQ(parse_number(bad), std::nullopt) << bad;
}

TEST(Options, Sizes) {
    EXPECT_EQ(parse_size("512"), 512u << 10);
    EXPECT_EQ(parse_size("256M"), 256u << 20);
    EXPECT_EQ(parse_size("2g"), 2ull << 30);
    EXPECT_EQ(parse_size("100B"), 100u);
    EXPECT_EQ(parse_size("M"), std::nullopt);
    EXPECT_EQ(parse_size(""), std::nullopt);
    EXPECT_EQ(parse_size("99999999999999T"), std::nullopt);
}

} // namespace
