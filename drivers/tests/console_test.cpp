// SPDX-License-Identifier: BSD-2-Clause
// The console ring: bytes in order, a full ring refuses, nonsense from the other side is ignored.
#include "console/console_ring.hpp"

#include <gtest/gtest.h>

#include <string>

using drivers::ConsoleRing;

TEST(ConsoleRing, FullRingTakesNoMore) {
    cero_console_page page{};
    ConsoleRing ring{page};
    const std::string text(3000, 'x');
    EXPECT_EQ(ring.write(text.data(), text.size()), sizeof page.out);
    EXPECT_EQ(ring.write(text.data(), 1), 0u);
    page.out_cons += 10;
    EXPECT_EQ(ring.write(text.data(), 100), 10u);
}

TEST(ConsoleRing, ReadsAcrossTheWrap) {
    cero_console_page page{};
    page.in_cons = page.in_prod = 0xffffffff - 2;
    const std::string text = "hello";
    for (const char c : text)
        page.in[page.in_prod++ % sizeof page.in] = c;
    ConsoleRing ring{page};
    char out[16];
    ASSERT_EQ(ring.read(out, sizeof out), text.size());
    EXPECT_EQ(std::string(out, text.size()), text);
    EXPECT_EQ(page.in_cons, page.in_prod);
}

TEST(ConsoleRing, ImpossibleIndexesMoveNothing) {
    cero_console_page page{};
    page.in_prod = 5000;
    page.out_cons = 1;
    ConsoleRing ring{page};
    char byte;
    EXPECT_EQ(ring.read(&byte, 1), 0u);
    EXPECT_EQ(ring.write("a", 1), 0u);
}
