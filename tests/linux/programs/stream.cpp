// SPDX-License-Identifier: BSD-2-Clause
// stream source PORT: sends to whoever connects until it goes.
// stream sink ADDRESS PORT SECONDS: receives, compares every word with what it must be, and prints
// the bytes of each second. A static program that asks little of its kernel: dom0's runs it, too.
#include "check.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <vector>

namespace {

using namespace test;

constexpr std::size_t words = 8192; // 64 KiB at once

sockaddr_in place(const char* address, const char* port) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
        fail("%s: not an address", address);
    return name;
}

bool send_all(int peer, const std::uint64_t* data, std::size_t size) {
    const char* at = reinterpret_cast<const char*>(data);
    while (size != 0) {
        const ssize_t sent = send(peer, at, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        size -= static_cast<std::size_t>(sent);
    }
    return true;
}

/// Word n of the stream is n, so that a lost, doubled or displaced piece is seen.
void feed(int peer) {
    static std::uint64_t data[words];
    for (std::uint64_t next = 0;;) {
        for (std::uint64_t& word : data)
            word = next++;
        if (!send_all(peer, data, sizeof data))
            return;
    }
}

int source(const char* port) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in name = place("0.0.0.0", port);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        listen(listener, 4) != 0)
        return fail("port %s: %s", port, std::strerror(errno)), 1;
    std::printf("stream: port %s is open\n", port);
    std::fflush(stdout);
    while (true) {
        const int peer = accept(listener, nullptr, nullptr);
        if (peer < 0)
            return fail("accept: %s", std::strerror(errno)), 1;
        feed(peer);
        close(peer);
    }
}

class Meter {
public:
    explicit Meter(unsigned wanted) : seconds(wanted) {}

    /// False after the last second. The first begins with the first byte.
    bool note(std::size_t bytes) {
        const std::uint64_t now = now_ns();
        if (begin == 0)
            begin = now;
        const std::size_t second = (now - begin) / 1'000'000'000;
        if (second >= seconds.size())
            return false;
        seconds[second] += bytes;
        return true;
    }

    void print() const {
        for (const std::uint64_t bytes : seconds)
            std::printf("%lu\n", bytes);
    }

private:
    std::uint64_t begin = 0;
    std::vector<std::uint64_t> seconds;
};

class Verifier {
public:
    bool take(const char* data, std::size_t size) {
        while (size != 0) {
            const bool whole = at % 8 == 0 && size >= 8;
            const std::size_t step = whole ? 8 : 1;
            std::uint64_t word = 0;
            std::memcpy(&word, data, step);
            const std::uint64_t wanted = whole ? at / 8 : (at / 8 >> at % 8 * 8) & 0xff;
            if (word != wanted)
                return fail("byte %lu of the stream is wrong", at), false;
            at += step, data += step, size -= step;
        }
        return true;
    }

private:
    std::uint64_t at = 0;
};

int sink(const char* address, const char* port, unsigned seconds) {
    const int peer = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in name = place(address, port);
    if (connect(peer, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
        return fail("%s port %s: %s", address, port, std::strerror(errno)), 1;
    Meter meter{seconds};
    Verifier verifier;
    static char data[words * sizeof(std::uint64_t)];
    while (true) {
        const ssize_t got = recv(peer, data, sizeof data, 0);
        if (got <= 0) {
            fail("the stream ends: %s", got == 0 ? "closed" : std::strerror(errno));
            break;
        }
        if (!verifier.take(data, static_cast<std::size_t>(got)) ||
            !meter.note(static_cast<std::size_t>(got)))
            break;
    }
    close(peer);
    meter.print();
    return finish("stream");
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "source") == 0)
        return source(argv[2]);
    if (argc == 5 && std::strcmp(argv[1], "sink") == 0)
        return sink(argv[2], argv[3], static_cast<unsigned>(std::atoi(argv[4])));
    std::fputs("usage: stream source PORT | sink ADDRESS PORT SECONDS\n", stderr);
    return 2;
}
