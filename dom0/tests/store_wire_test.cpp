// SPDX-License-Identifier: BSD-2-Clause
// XenStore's wire format: round trips, split streams, hostile lengths, paths.
#include "store/wire.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cero::store {
namespace {

TEST(Wire, RoundTripAtEverySplit) {
    const Message first{11, 7, 0, std::string{"/a/b\0value", 10}};
    const Message second{2, 8, 3, std::string{"name\0", 5}};
    const std::string bytes = encode(first) + encode(second);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        Decoder decoder;
        std::vector<Message> seen;
        for (const std::string& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
            decoder.feed(part);
            while (auto message = decoder.next())
                seen.push_back(std::move(*message));
        }
        ASSERT_EQ(seen.size(), 2u) << cut;
        EXPECT_EQ(seen[0], first);
        EXPECT_EQ(seen[1], second);
        EXPECT_FALSE(decoder.is_broken());
    }
}

TEST(Wire, WantedNamesTheNextBoundary) {
    Decoder decoder;
    EXPECT_EQ(decoder.wanted(), header_size);
    const std::string bytes = encode({2, 1, 0, "12345"});
    decoder.feed(bytes.substr(0, 4));
    EXPECT_EQ(decoder.wanted(), header_size - 4);
    decoder.feed(bytes.substr(4, 12));
    EXPECT_EQ(decoder.wanted(), 5u);
}

TEST(Wire, OversizedMessageBreaksTheStream) {
    Message message{2, 1, 0, {}};
    std::string bytes = encode(message);
    bytes[12] = 1;
    bytes[13] = 0x10; // 4097
    Decoder decoder;
    decoder.feed(bytes);
    EXPECT_TRUE(decoder.is_broken());
    EXPECT_FALSE(decoder.next());
    EXPECT_EQ(decoder.wanted(), 0u);
}

TEST(Wire, OversizedMessageBehindAGoodOneBreaksAfterIt) {
    std::string bad = encode({2, 1, 0, {}});
    bad[15] = 1;
    Decoder decoder;
    decoder.feed(encode({2, 1, 0, "x"}) + bad);
    EXPECT_TRUE(decoder.next());
    EXPECT_TRUE(decoder.is_broken());
}

TEST(Wire, RandomBytesNeverDoHarm) {
    std::mt19937 random{1};
    for (int round = 0; round < 2000; ++round) {
        Decoder decoder;
        for (int part = 0; part < 8; ++part) {
            std::string bytes(random() % 64, '\0');
            for (char& byte : bytes)
                byte = static_cast<char>(random() % 4 == 0 ? random() : 0);
            decoder.feed(bytes);
            while (const auto message = decoder.next())
                EXPECT_LE(message->payload.size(), payload_max);
        }
    }
}

TEST(Wire, Paths) {
    for (const char* good : {"/", "/a", "/local/domain/0", "/a-b_c@d/E9", "@releaseDomain"})
        EXPECT_TRUE(is_valid_path(good)) << good;
    for (const char* bad : {"", "a", "/a/", "//", "/a//b", "/a b", "/a\n", "/\xff", "@a/b"})
        EXPECT_FALSE(is_valid_path(bad)) << bad;
    EXPECT_TRUE(is_valid_path("/" + std::string(absolute_path_max - 1, 'a')));
    EXPECT_FALSE(is_valid_path("/" + std::string(absolute_path_max, 'a')));
}

TEST(Wire, StringsMustBeClosed) {
    EXPECT_EQ(strings_of({"a\0b\0", 4})->size(), 2u);
    EXPECT_FALSE(strings_of({"a\0b", 3}));
    EXPECT_TRUE(strings_of({})->empty());
}

TEST(Wire, ErrorNamesGoBothWays) {
    EXPECT_EQ(error_name(Errno::noent), "ENOENT");
    EXPECT_EQ(error_from_name("EAGAIN"), Errno::again);
    EXPECT_EQ(error_from_name("ENOTKNOWN"), Errno::inval);
}

} // namespace
} // namespace cero::store
