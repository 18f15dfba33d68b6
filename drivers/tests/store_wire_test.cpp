// SPDX-License-Identifier: BSD-2-Clause
// XenStore wire: messages survive any split and any wrap; impossible indexes and lengths are
// noticed.
#include "xenbus/wire.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

using namespace drivers::xenbus;

namespace {

TEST(ByteRing, MovesBytesAcrossTheWrap) {
    char data[CERO_XENSTORE_RING_SIZE];
    std::uint32_t consumer = 0xffffff00, producer = 0xffffff00;
    ByteRing ring{data, consumer, producer};
    std::mt19937 random{1};
    std::string in, out;
    for (int i = 0; i < 5000; ++i) {
        std::string piece(random() % 700, char('a' + random() % 26));
        const std::size_t written = ring.write(piece.data(), piece.size());
        in += piece.substr(0, written);
        char buffer[512];
        const std::size_t count = ring.read(buffer, random() % sizeof buffer);
        out.append(buffer, count);
        ASSERT_LE(out.size(), in.size());
    }
    char rest[CERO_XENSTORE_RING_SIZE];
    out.append(rest, ring.read(rest, sizeof rest));
    EXPECT_EQ(in, out);
}

TEST(ByteRing, ImpossibleIndexesMoveNothing) {
    char data[CERO_XENSTORE_RING_SIZE];
    std::uint32_t consumer = 5, producer = 5 + CERO_XENSTORE_RING_SIZE + 1;
    ByteRing ring{data, consumer, producer};
    char byte = 0;
    EXPECT_FALSE(ring.is_sane());
    EXPECT_EQ(ring.read(&byte, 1), 0u);
    EXPECT_EQ(ring.write(&byte, 1), 0u);
}

TEST(MessageAssembler, AcceptsAnySplit) {
    const std::string payload = "/local/domain/3/name";
    cero_xenstore_message header{CERO_XS_READ, 7, 0, static_cast<std::uint32_t>(payload.size())};
    std::string wire(reinterpret_cast<char*>(&header), sizeof header);
    wire += payload;
    MessageAssembler assembler;
    for (std::size_t step = 1; step <= wire.size(); ++step) {
        std::size_t at = 0;
        while (assembler.need() != MessageAssembler::Need::nothing) {
            const auto window = assembler.window();
            ASSERT_FALSE(window.empty());
            const std::size_t count = std::min({step, window.size(), wire.size() - at});
            ASSERT_NE(count, 0u);
            std::copy_n(wire.data() + at, count, window.data());
            assembler.advance(count);
            at += count;
        }
        EXPECT_EQ(at, wire.size());
        EXPECT_EQ(assembler.header().req_id, 7u);
        EXPECT_STREQ(assembler.payload(), payload.c_str());
        assembler.restart();
    }
}

TEST(MessageAssembler, RefusesALengthBeyondTheProtocol) {
    cero_xenstore_message header{CERO_XS_READ, 7, 0, CERO_XENSTORE_PAYLOAD_MAX + 1};
    MessageAssembler assembler;
    const auto window = assembler.window();
    ASSERT_EQ(window.size(), sizeof header);
    std::copy_n(reinterpret_cast<char*>(&header), sizeof header, window.data());
    assembler.advance(sizeof header);
    EXPECT_EQ(assembler.need(), MessageAssembler::Need::broken);
    EXPECT_TRUE(assembler.window().empty());
}

TEST(ErrorNames, GoBothWays) {
    for (const Errno error :
         {Errno::noent, Errno::acces, Errno::again, Errno::too_big, Errno::nospc})
        EXPECT_EQ(error_from_name(error_name(error)), error);
    EXPECT_EQ(error_from_name("EWHATEVER"), Errno::inval);
}

} // namespace
