// SPDX-License-Identifier: BSD-2-Clause
// The journal: what is read back is what was, wherever the writer died.
#include "store/journal.hpp"

#include "store/core.hpp"
#include "store/ring.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cero::store {
namespace {

std::map<std::string, std::string> contents(const Tree& tree) {
    std::map<std::string, std::string> all;
    walk(tree.root(), "/", [&](const std::string& path, const Node& node) {
        all[path] = node.value + "|" + node.permissions.to_wire();
    });
    return all;
}

struct JournalTest : testing::Test {
    std::string path{testing::TempDir() + "/store-journal"};
    void SetUp() override { ::unlink(path.c_str()); }
};

/// Random changes by dom0 and by a guest, as the server makes them.
void change(Tree& tree, Journal& journal, std::mt19937& random) {
    std::vector<Change> changes;
    const Caller caller{static_cast<DomainNumber>(random() % 2 == 0 ? 0 : 5)};
    std::string where = caller.domain == 0 ? "/a" : "/local/domain/5";
    for (auto depth = random() % 4; depth-- > 0;)
        where += "/" + std::string(1, static_cast<char>('a' + random() % 4));
    const TreeLimits limits;
    switch (random() % 5) {
    case 0:
        (void)tree.remove(caller, where, changes);
        break;
    case 1:
        (void)tree.make(caller, where, limits, changes);
        break;
    case 2:
        (void)tree.set_permissions(caller, where,
                                   Permissions{{{Rights{true, random() % 2 == 0}, caller.domain},
                                                {Rights{true, false}, 7}}},
                                   limits, changes);
        break;
    default:
        (void)tree.write(caller, where, std::string(random() % 40, 'v') + '\0' + "x", limits,
                         changes);
    }
    journal.note(tree, changes);
}

TEST_F(JournalTest, RandomChangesAreReadBack) {
    std::mt19937 random{3};
    Tree tree;
    Journal journal{path};
    EXPECT_TRUE(journal.load(tree).empty());
    std::vector<Change> changes;
    ASSERT_TRUE(tree.make(Caller{}, "/local/domain/5", {}, changes));
    ASSERT_TRUE(tree.set_permissions(Caller{}, "/local/domain/5", Permissions{{{Rights{}, 5}}}, {},
                                     changes));
    journal.note(tree, changes);
    for (int round = 0; round < 3000; ++round) { // long enough to start over many times
        for (auto n = random() % 5; n-- > 0;)
            change(tree, journal, random);
        journal.flush(tree);
        if (round % 50 != 0)
            continue;
        const std::string copy = path + ".copy";
        write_file(copy, read_file(path, 64 << 20).value());
        Tree again;
        Journal reader{copy};
        (void)reader.load(again);
        ASSERT_EQ(contents(again), contents(tree)) << round;
        ASSERT_TRUE(reader.is_whole());
        for (const DomainNumber domain : {DomainNumber{0}, DomainNumber{5}})
            ASSERT_EQ(again.nodes_of(domain), tree.nodes_of(domain));
    }
}

TEST_F(JournalTest, WhatADeadDomainLeftIsReadBackAsItsHeirs) {
    Tree tree;
    Journal journal{path};
    EXPECT_TRUE(journal.load(tree).empty());
    std::vector<Change> changes;
    ASSERT_TRUE(tree.make(Caller{}, "/local/domain/5", {}, changes));
    ASSERT_TRUE(tree.set_permissions(Caller{}, "/local/domain/5",
                                     Permissions{{{Rights{}, 5}, {Rights{true, true}, 7}}}, {},
                                     changes));
    ASSERT_TRUE(tree.write(Caller{7, no_domain}, "/local/domain/5/a/b", "v", {}, changes));
    journal.note(tree, changes);
    journal.flush(tree);
    changes.clear();
    tree.forget_domain(7, changes);
    journal.note(tree, changes);
    journal.flush(tree);
    Tree again;
    Journal reader{path};
    (void)reader.load(again);
    EXPECT_EQ(contents(again), contents(tree));
    EXPECT_EQ(again.nodes_of(7), 0u);
    EXPECT_EQ(again.nodes_of(5), 3u);
}

TEST_F(JournalTest, ClientsAreReadBackAndForgotten) {
    Tree tree;
    {
        Journal journal{path};
        (void)journal.load(tree);
        SavedClient client{77,        3,
                           1000,      2000,
                           no_domain, true,
                           "half",    std::string{"a\0b", 3},
                           {4, 9},    {{"/local/domain/5/x", "t", "/local/domain/5/", 3}}};
        journal.note(5, client, true);
        journal.note(6, client, true);
        journal.flush(tree);
        client.consumed = 1016;
        client.watches.clear();
        journal.note(5, client, false); // keeps its watches
        journal.note_release(6);
        journal.flush(tree);
    }
    for (int start = 0; start < 3; ++start) { // each load starts the file over
        Tree again;
        Journal journal{path};
        const auto clients = journal.load(again);
        ASSERT_EQ(clients.size(), 1u);
        const SavedClient& client = clients.at(5);
        EXPECT_EQ(client.consumed, 1016u);
        EXPECT_EQ(client.output, (std::string{"a\0b", 3}));
        EXPECT_EQ(client.transactions, (std::vector<std::uint32_t>{4, 9}));
        ASSERT_EQ(client.watches.size(), 1u);
        EXPECT_EQ(client.watches[0].depth_plus_one, 3u);
        EXPECT_TRUE(client.is_shut_down);
    }
}

TEST_F(JournalTest, AnEndThatWasCutCountsForNothing) {
    Tree tree;
    std::vector<std::pair<std::size_t, std::map<std::string, std::string>>> states;
    {
        Journal journal{path};
        (void)journal.load(tree);
        std::vector<Change> changes;
        for (int n = 0; n < 20; ++n) {
            states.emplace_back(read_file(path)->size(), contents(tree));
            changes.clear();
            ASSERT_TRUE(tree.write(Caller{}, "/n" + std::to_string(n), "v", {}, changes));
            journal.note(tree, changes);
            journal.flush(tree);
        }
    }
    const std::string whole = *read_file(path);
    for (std::size_t cut = states.front().first; cut < whole.size(); ++cut) {
        write_file(path, whole.substr(0, cut));
        Tree again;
        Journal journal{path};
        (void)journal.load(again);
        std::size_t last = 0;
        while (last + 1 < states.size() && states[last + 1].first <= cut)
            ++last;
        ASSERT_EQ(contents(again), states[last].second) << cut;
        ASSERT_EQ(journal.is_whole(), states[last].first == cut) << cut;
    }
}

} // namespace
} // namespace cero::store
