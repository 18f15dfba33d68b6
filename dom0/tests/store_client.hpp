// SPDX-License-Identifier: BSD-2-Clause
// Clients of a store without transport: they send requests and read answers, one at a time.
#pragma once

#include "store/core.hpp"

#include <gtest/gtest.h>

namespace cero::store {

using namespace std::string_literals;

class FakeDomains final : public DomainService {
public:
    std::set<DomainNumber> introduced;
    Status introduce(DomainNumber domain, std::uint64_t, std::uint32_t) override {
        introduced.insert(domain);
        return {};
    }
    Status release(DomainNumber domain) override {
        return introduced.erase(domain) != 0 ? Status{} : Status{Errno::noent};
    }
    bool is_introduced(DomainNumber domain) const override { return introduced.contains(domain); }
    Status resume(DomainNumber domain) override {
        return introduced.contains(domain) ? Status{} : Status{Errno::noent};
    }
    Status set_target(DomainNumber, DomainNumber) override { return {}; }
};

struct Client {
    Client(Core& with, DomainNumber domain, bool is_kernel = false)
        : core{with}, connection{domain} {
        connection.is_kernel = is_kernel;
        core.add(connection);
    }
    ~Client() { core.remove(connection); }

    void send(Op op, std::string payload, std::uint32_t transaction = 0) {
        std::string bytes;
        encode_to(bytes, op, ++request, transaction, payload);
        connection.decoder.feed(bytes);
        core.serve(connection);
    }
    std::optional<Message> receive() {
        if (!connection.has_output())
            return std::nullopt;
        Decoder decoder;
        const std::string bytes{connection.output()};
        connection.consume_output(bytes.size());
        decoder.feed(bytes);
        return decoder.next();
    }
    /// Sends and returns the payload of the reply, errors as "!NAME".
    std::string ask(Op op, std::string payload, std::uint32_t transaction = 0) {
        send(op, std::move(payload), transaction);
        const auto reply = receive();
        if (!reply)
            return "(nothing)";
        EXPECT_EQ(reply->request, request);
        if (reply->type == 16)
            return "!" + reply->payload.substr(0, reply->payload.size() - 1);
        return reply->payload;
    }
    std::string event() {
        const auto message = receive();
        if (!message)
            return "(nothing)";
        EXPECT_EQ(message->type, 15u);
        return message->payload;
    }
    Core& core;
    Connection connection;
    std::uint32_t request{};
};

inline const std::string ok = "OK\0"s;

struct CoreTest : testing::Test {
    FakeDomains domains;
    Core core{domains, Limits{}};
    Client control{core, 0};
    CoreTest() {
        EXPECT_EQ(control.ask(Op::mkdir, "/local/domain/5\0"s), ok);
        EXPECT_EQ(control.ask(Op::set_perms, "/local/domain/5\0n5\0"s), ok);
    }
};

} // namespace cero::store
