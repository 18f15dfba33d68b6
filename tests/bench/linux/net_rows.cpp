// SPDX-License-Identifier: BSD-2-Clause
// Round trips and a stream against `serve`, and `serve` itself, which runs in dom0 or on the
// loopback.
#include "harness.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr std::uint16_t udp_echo = 7000, tcp_echo = 7001, sink = 7002, source = 7003;
constexpr std::size_t stream_length = 4 << 20;

char buffer[65536];

sockaddr_in address_of(const char* text, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        fail(text);
    return address;
}

int connect_to(const char* text, std::uint16_t port, int type) {
    const sockaddr_in address = address_of(text, port);
    for (int attempt = 0; attempt < 50; ++attempt) { // `serve` may be on its way up
        const int handle = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        if (connect(handle, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
            const int one = 1;
            if (type == SOCK_STREAM)
                setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            return handle;
        }
        close(handle);
        usleep(100000);
    }
    fail("connect");
}

void read_whole(int handle, std::size_t length) {
    while (length > 0) {
        const ssize_t got = read(handle, buffer, length < sizeof buffer ? length : sizeof buffer);
        if (got <= 0)
            fail("the stream's other end");
        length -= static_cast<std::size_t>(got);
    }
}

void write_whole(int handle, std::size_t length) {
    while (length > 0) {
        const ssize_t put = write(handle, buffer, length < sizeof buffer ? length : sizeof buffer);
        if (put <= 0)
            fail("the stream's other end");
        length -= static_cast<std::size_t>(put);
    }
}

/// A datagram may be lost while the interfaces come up.
void udp_round_trip(int handle) {
    char byte = 0;
    if (write(handle, &byte, 1) != 1 || read(handle, &byte, 1) != 1)
        fail("UDP round trip");
}

void first_datagram(const char* text) {
    for (int attempt = 0; attempt < 50; ++attempt) {
        const int handle = connect_to(text, udp_echo, SOCK_DGRAM);
        const timeval limit{.tv_sec = 0, .tv_usec = 200000};
        setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        char byte = 0;
        const bool answered = write(handle, &byte, 1) == 1 && read(handle, &byte, 1) == 1;
        close(handle);
        if (answered)
            return;
        usleep(100000);
    }
    fail("no answer to a datagram");
}

[[noreturn]] void echo_datagrams() {
    const sockaddr_in here = address_of("0.0.0.0", udp_echo);
    const int handle = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(handle, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
        fail("bind");
    for (;;) {
        sockaddr_in from{};
        socklen_t size = sizeof from;
        const ssize_t got =
            recvfrom(handle, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
        if (got >= 0)
            sendto(handle, buffer, static_cast<std::size_t>(got), 0,
                   reinterpret_cast<sockaddr*>(&from), size);
    }
}

/// One connection at a time; `talk` runs until the other side closes.
template <typename Talk>
[[noreturn]] void accept_each(std::uint16_t port, Talk talk) {
    const sockaddr_in here = address_of("0.0.0.0", port);
    const int handle = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(handle, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        listen(handle, 4) != 0)
        fail("listen");
    for (;;) {
        const int peer = accept(handle, nullptr, nullptr);
        if (peer < 0)
            continue;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        talk(peer);
        close(peer);
    }
}

void echo_bytes(int peer) {
    for (ssize_t got; (got = read(peer, buffer, 4096)) > 0;)
        if (write(peer, buffer, static_cast<std::size_t>(got)) != got)
            return;
}

/// Takes a stream, then tells that it has all of it.
void take_stream(int peer) {
    for (;;) {
        std::size_t left = stream_length;
        while (left > 0) {
            const ssize_t got = read(peer, buffer, left < sizeof buffer ? left : sizeof buffer);
            if (got <= 0)
                return;
            left -= static_cast<std::size_t>(got);
        }
        if (write(peer, buffer, 1) != 1)
            return;
    }
}

/// A stream for each byte of the other side.
void give_stream(int peer) {
    char byte;
    while (read(peer, &byte, 1) == 1)
        write_whole(peer, stream_length);
}

} // namespace

void net_rows(const char* address, const char* prefix) {
    const auto name = [prefix](const char* what) { return std::string{prefix} + what; };
    first_datagram(address);
    const int datagrams = connect_to(address, udp_echo, SOCK_DGRAM);
    measure(name("_udp_round_trip").c_str(), 16, 16, [&] { udp_round_trip(datagrams); });
    close(datagrams);
    const int echo = connect_to(address, tcp_echo, SOCK_STREAM);
    measure(name("_tcp_round_trip").c_str(), 16, 16, [&] {
        char byte = 0;
        if (write(echo, &byte, 1) != 1 || read(echo, &byte, 1) != 1)
            fail("TCP round trip");
    });
    close(echo);
    const int out = connect_to(address, sink, SOCK_STREAM);
    measure(name("_tcp_send_4m").c_str(), 8, 1, [&] {
        write_whole(out, stream_length);
        read_whole(out, 1);
    });
    close(out);
    const int in = connect_to(address, source, SOCK_STREAM);
    measure(name("_tcp_receive_4m").c_str(), 8, 1, [&] {
        write_whole(in, 1);
        read_whole(in, stream_length);
    });
    close(in);
}

void serve() {
    signal(SIGPIPE, SIG_IGN);
    if (fork() == 0)
        echo_datagrams();
    if (fork() == 0)
        accept_each(tcp_echo, echo_bytes);
    if (fork() == 0)
        accept_each(sink, take_stream);
    accept_each(source, give_stream);
}

} // namespace bench
