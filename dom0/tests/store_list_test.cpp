// SPDX-License-Identifier: BSD-2-Clause
// StoreClient::list() of what does not fit into one message, while a guest rewrites it.
#include "fake_machine.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace cero::test {
namespace {

const std::string data = "/local/domain/5/data";

struct StoreListTest : testing::Test {
    LocalStore local;
    control::StoreClient store{local.client()};
    std::vector<store::Change> ignored;
    unsigned requests{0};
    static constexpr unsigned requests_max = 1000;

    void SetUp() override {
        for (unsigned i = 0; i < 900; ++i)
            write("/node-" + std::to_string(i));
    }
    void write(const std::string& name) {
        ASSERT_TRUE(local.core.tree().write(store::Caller{}, data + name, "v", {}, ignored));
    }
    /// After each request somebody does this; too many requests are an error, not an endless test.
    void meanwhile(std::function<void()> act) {
        local.served = [this, act = std::move(act)] {
            if (++requests > requests_max)
                throw std::runtime_error{"list() does not end"};
            act();
        };
    }
};

TEST_F(StoreListTest, AGuestThatWritesAllTheTimeIsListed) {
    meanwhile([this] { write("/new-" + std::to_string(requests)); });
    const auto names = store.list(data);
    ASSERT_TRUE(names);
    EXPECT_GE(names->size(), 900u);
    EXPECT_LT(requests, 20u);
    auto status = store.request(control::StoreOp::control, control::path_payload("status"));
    ASSERT_TRUE(status);
    EXPECT_NE((*status).find("transactions 0\n"), std::string::npos) << *status;
}

TEST_F(StoreListTest, AGuestThatRemovesAllTheTimeIsListed) {
    unsigned gone = 0;
    meanwhile([&] {
        (void)local.core.tree().remove(store::Caller{}, data + "/node-" + std::to_string(gone++),
                                       ignored);
    });
    const auto names = store.list(data);
    ASSERT_TRUE(names);
    EXPECT_GE(names->size(), 890u);
}

TEST_F(StoreListTest, ACallersOwnTransactionIsUsed) {
    meanwhile([this] { write("/new-" + std::to_string(requests)); });
    const auto started =
        store.request(control::StoreOp::transaction_start, std::string_view{"\0", 1});
    ASSERT_TRUE(started);
    const auto names = store.list(data, static_cast<std::uint32_t>(std::stoul(*started)));
    ASSERT_TRUE(names);
    EXPECT_EQ(names->size(), 900u);
}

/// A store that has no transaction to give, and in which somebody writes before each answer.
class BusyLink final : public control::StoreLink {
public:
    explicit BusyLink(LocalStore& store) : store_{store} { store_.core.add(connection_); }
    ~BusyLink() override { store_.core.remove(connection_); }
    bool send(std::string_view bytes) override {
        if (++requests > 100)
            throw std::runtime_error{"list() does not end"};
        (void)store_.core.tree().write(store::Caller{}, data + "/new-" + std::to_string(requests),
                                       "v", {}, ignored_);
        store::Decoder decoder;
        decoder.feed(bytes);
        const auto message = decoder.next();
        if (static_cast<store::Op>(message->type) == store::Op::transaction_start) {
            store::encode_to(refusal_, store::Op::error, message->request, 0,
                             control::path_payload("ENOSPC"));
            return true;
        }
        connection_.decoder.feed(bytes);
        store_.core.serve(connection_);
        return true;
    }
    std::optional<std::string> receive(int) override {
        std::string bytes = std::exchange(refusal_, {});
        while (connection_.has_output()) {
            bytes += connection_.output();
            connection_.consume_output(connection_.output().size());
        }
        return bytes;
    }
    unsigned requests{0};

private:
    LocalStore& store_;
    store::Connection connection_{0};
    std::string refusal_;
    std::vector<store::Change> ignored_;
};

TEST_F(StoreListTest, WithoutATransactionItGivesUpAndNamesTheNode) {
    control::StoreClient busy{std::make_unique<BusyLink>(local)};
    try {
        (void)busy.list(data);
        FAIL() << "a list that was never whole";
    } catch (const Error& error) {
        EXPECT_NE(std::string{error.what()}.find(data), std::string::npos);
        EXPECT_FALSE(error.remedy().empty());
    }
}

} // namespace
} // namespace cero::test
