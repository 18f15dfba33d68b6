// SPDX-License-Identifier: BSD-2-Clause
// AF_UNIX sockets: streams, datagrams, names, passed files, ends that go away.
#include "../../net/socket.hpp"
#include "../pipe.hpp"
#include "host_kernel.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace kernel;
using namespace kernel::net;

namespace {

constexpr std::uint32_t dontwait = message_flag::dontwait;

class UnixTest : public ::testing::Test {
protected:
    void SetUp() override { host::start(); }

    static Address name(const std::string& text) {
        Address address;
        const std::uint16_t family = af_unix;
        std::memcpy(address.bytes, &family, 2);
        std::memcpy(address.bytes + 2, text.data(), text.size());
        address.length = static_cast<std::uint32_t>(2 + text.size());
        return address;
    }
    static Result<std::size_t> send(Socket* socket, const std::string& text,
                                    const Address* to = nullptr) {
        auto buffer = IoBuffer::kernel(static_cast<const void*>(text.data()), text.size());
        Address copy = to != nullptr ? *to : Address{};
        Message message{
            .data = buffer, .address = to != nullptr ? &copy : nullptr, .flags = dontwait};
        return socket->send(message);
    }
    static std::string receive(Socket* socket, std::size_t size = 100000,
                               std::uint32_t flags = dontwait) {
        std::string text(size, 0);
        auto buffer = IoBuffer::kernel(text.data(), size);
        Message message{.data = buffer, .flags = flags};
        auto count = socket->receive(message);
        if (!count)
            return "error " + std::to_string(static_cast<int>(count.error()));
        text.resize(*count);
        return text;
    }
    static Socket* make(int type) { return *make_unix_socket(type, 0); }
};

TEST_F(UnixTest, StreamsJoinAndSplit) {
    Socket* a = nullptr;
    Socket* b = nullptr;
    ASSERT_TRUE(make_unix_pair(sock_stream, a, b));
    ASSERT_TRUE(send(a, "hello "));
    ASSERT_TRUE(send(a, "world"));
    EXPECT_EQ(receive(b, 3), "hel");
    EXPECT_EQ(receive(b, 4, dontwait | message_flag::peek), "lo ");
    EXPECT_EQ(receive(b, 100), "lo world");
    EXPECT_EQ(receive(b), "error 11");
    EXPECT_EQ(b->poll(nullptr) & poll_event::in, 0U);
    a->close();
    EXPECT_EQ(receive(b), "");
    EXPECT_EQ(send(b, "x").error(), Errno::pipe);
    EXPECT_NE(b->poll(nullptr) & poll_event::hup, 0U);
    b->close();
}

TEST_F(UnixTest, AFullStreamStops) {
    Socket* a = nullptr;
    Socket* b = nullptr;
    ASSERT_TRUE(make_unix_pair(sock_stream, a, b));
    std::size_t sent = 0;
    for (;;) {
        auto count = send(a, std::string(50000, 'x'));
        if (!count) {
            EXPECT_EQ(count.error(), Errno::again);
            break;
        }
        sent += *count;
        ASSERT_LT(sent, 10'000'000U);
    }
    std::size_t received = 0;
    for (std::string part = receive(b); part != "error 11"; part = receive(b))
        received += part.size();
    EXPECT_EQ(sent, received);
    a->close();
    b->close();
}

TEST_F(UnixTest, NamesInTheFileSystem) {
    Socket* server = make(sock_stream);
    const Address at = name("/unix-test");
    ASSERT_TRUE(server->bind(at));
    Socket* client = make(sock_stream);
    EXPECT_EQ(client->connect(at, true).error(), Errno::connrefused); // does not listen yet
    ASSERT_TRUE(server->listen(1));
    ASSERT_TRUE(client->connect(at, true));
    EXPECT_EQ(client->connect(at, true).error(), Errno::isconn);
    auto accepted = server->accept(true);
    ASSERT_TRUE(accepted);
    EXPECT_EQ(server->accept(true).error(), Errno::again);
    ASSERT_TRUE(send(client, "ping"));
    EXPECT_EQ(receive(*accepted), "ping");
    PeerCredentials who{};
    ASSERT_TRUE((*accepted)->peer_credentials(who));
    EXPECT_EQ(who.pid, 1);
    Socket* other = make(sock_stream);
    EXPECT_EQ(other->bind(at).error(), Errno::addrinuse);
    server->close();
    EXPECT_EQ(other->connect(at, true).error(), Errno::connrefused);
    for (Socket* socket : {client, *accepted, other})
        socket->close();
}

TEST_F(UnixTest, PendingConnectionsDieWithTheServer) {
    Socket* server = make(sock_stream);
    const Address at = name(std::string("\0pending", 8));
    ASSERT_TRUE(server->bind(at));
    ASSERT_TRUE(server->listen(5));
    Socket* client = make(sock_stream);
    ASSERT_TRUE(client->connect(at, true));
    server->close();
    EXPECT_EQ(receive(client), "");
    client->close();
}

TEST_F(UnixTest, DatagramsKeepTheirBounds) {
    Socket* a = make(sock_dgram);
    Socket* b = make(sock_dgram);
    const Address at = name(std::string("\0dgram", 6));
    ASSERT_TRUE(a->bind(at));
    ASSERT_TRUE(send(b, "one", &at));
    ASSERT_TRUE(b->connect(at, true));
    ASSERT_TRUE(send(b, "second"));
    EXPECT_EQ(receive(a), "one");
    EXPECT_EQ(receive(a, 3), "sec"); // the rest is lost
    EXPECT_EQ(receive(a), "error 11");
    a->close();
    EXPECT_EQ(send(b, "x").error(), Errno::connrefused);
    b->close();
}

TEST_F(UnixTest, PassesFiles) {
    Socket* a = nullptr;
    Socket* b = nullptr;
    ASSERT_TRUE(make_unix_pair(sock_stream, a, b));
    auto ends = pipe::create(open_flag::nonblock);
    PassedFiles files;
    files.files[0] = std::move(ends->reader);
    files.count = 1;
    std::string text = "f";
    auto buffer = IoBuffer::kernel(text.data(), 1);
    Message message{.data = buffer, .files = &files, .flags = dontwait};
    ASSERT_TRUE(a->send(message));
    EXPECT_EQ(files.count, 0U);
    PassedFiles got;
    char byte = 0;
    auto in = IoBuffer::kernel(&byte, 1);
    Message incoming{.data = in, .files = &got, .flags = dontwait};
    ASSERT_TRUE(b->receive(incoming));
    ASSERT_EQ(got.count, 1U);
    auto out = IoBuffer::kernel(static_cast<const void*>("z"), 1);
    ASSERT_TRUE(ends->writer->write(out));
    auto back = IoBuffer::kernel(&byte, 1);
    ASSERT_TRUE(got.files[0]->read(back));
    EXPECT_EQ(byte, 'z');
    a->close();
    b->close();
}

TEST_F(UnixTest, FilesInFlightAreClosedWithTheSocket) {
    Socket* a = nullptr;
    Socket* b = nullptr;
    ASSERT_TRUE(make_unix_pair(sock_stream, a, b));
    auto ends = pipe::create(open_flag::nonblock);
    {
        PassedFiles files;
        files.files[0] = std::move(ends->reader);
        files.count = 1;
        std::string text = "f";
        auto buffer = IoBuffer::kernel(text.data(), 1);
        Message message{.data = buffer, .files = &files, .flags = dontwait};
        ASSERT_TRUE(a->send(message));
    }
    b->close();
    auto out = IoBuffer::kernel(static_cast<const void*>("z"), 1);
    EXPECT_EQ(ends->writer->write(out).error(), Errno::pipe);
    a->close();
}

TEST_F(UnixTest, ShutdownEndsOneDirection) {
    Socket* a = nullptr;
    Socket* b = nullptr;
    ASSERT_TRUE(make_unix_pair(sock_stream, a, b));
    ASSERT_TRUE(send(a, "last"));
    ASSERT_TRUE(a->shutdown(1));
    EXPECT_EQ(send(a, "x").error(), Errno::pipe);
    EXPECT_EQ(receive(b), "last");
    EXPECT_EQ(receive(b), "");
    ASSERT_TRUE(send(b, "answer"));
    EXPECT_EQ(receive(a), "answer");
    a->close();
    b->close();
}

} // namespace
