// SPDX-License-Identifier: BSD-2-Clause
// XenStore's tree and transactions, by example and against a naive model.
#include "store/transaction.hpp"
#include "store/wire.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cero::store {
namespace {

constexpr Caller control{};
constexpr Caller guest{5, no_domain};
const TreeLimits limits;

Permissions perms(std::initializer_list<std::string_view> texts) {
    return *Permissions::from_strings(std::vector<std::string_view>{texts});
}

struct TreeTest : testing::Test {
    Tree tree;
    std::vector<Change> changes;
    void give_home() {
        ASSERT_TRUE(tree.make(control, "/local/domain/5", limits, changes));
        ASSERT_TRUE(
            tree.set_permissions(control, "/local/domain/5", perms({"n5"}), limits, changes));
        changes.clear();
    }
};

TEST_F(TreeTest, WriteCreatesParentsThatInheritPermissions) {
    give_home();
    ASSERT_TRUE(tree.write(guest, "/local/domain/5/a/b", "v", limits, changes));
    EXPECT_EQ(tree.find("/local/domain/5/a/b")->value, "v");
    EXPECT_EQ(tree.find("/local/domain/5/a")->permissions.owner(), 5);
    EXPECT_EQ(tree.nodes_of(5), 3u);
    EXPECT_EQ(changes.size(), 1u);
}

TEST_F(TreeTest, ForeignDirectoriesAreClosed) {
    give_home();
    const Caller other{6, no_domain};
    EXPECT_EQ(tree.write(other, "/local/domain/5/a", "v", limits, changes).error(), Errno::acces);
    EXPECT_EQ(tree.read(other, "/local/domain/5").error(), Errno::acces);
    EXPECT_EQ(tree.read(other, "/local/domain/5/none").error(), Errno::acces);
    EXPECT_EQ(tree.read(guest, "/local/domain/5/none").error(), Errno::noent);
    EXPECT_EQ(tree.remove(other, "/local/domain/5", changes).error(), Errno::acces);
    EXPECT_TRUE(changes.empty());
}

TEST_F(TreeTest, QuotaStopsBeforeAnythingChanges) {
    give_home();
    TreeLimits small = limits;
    small.nodes_per_domain = 3; // the home is one of them
    ASSERT_TRUE(tree.write(guest, "/local/domain/5/a", "", small, changes));
    EXPECT_EQ(tree.write(guest, "/local/domain/5/b/c", "", small, changes).error(), Errno::nospc);
    EXPECT_EQ(tree.find("/local/domain/5/b"), nullptr);
    EXPECT_TRUE(tree.write(control, "/local/domain/5/b/c", "", small, changes));
    EXPECT_EQ(
        tree.write(guest, "/local/domain/5/a", std::string(2049, 'x'), small, changes).error(),
        Errno::nospc);
    ASSERT_TRUE(tree.remove(guest, "/local/domain/5/b", changes));
    EXPECT_TRUE(tree.write(guest, "/local/domain/5/b", "", small, changes));
}

TEST_F(TreeTest, RemoveRules) {
    EXPECT_EQ(tree.remove(control, "/", changes).error(), Errno::inval);
    EXPECT_TRUE(tree.remove(control, "/nothing", changes)); // the parent exists
    EXPECT_EQ(tree.remove(control, "/no/thing", changes).error(), Errno::noent);
    ASSERT_TRUE(tree.write(control, "/a/b/c", "", limits, changes));
    ASSERT_TRUE(tree.remove(control, "/a", changes));
    EXPECT_EQ(tree.nodes_of(0), 1u);
}

TEST_F(TreeTest, OnlyOwnersChangePermissionsAndNeverTheOwner) {
    give_home();
    EXPECT_EQ(
        tree.set_permissions(guest, "/local/domain/5", perms({"n6"}), limits, changes).error(),
        Errno::perm);
    EXPECT_TRUE(tree.set_permissions(guest, "/local/domain/5", perms({"r5"}), limits, changes));
    const Caller other{6, no_domain};
    EXPECT_EQ(
        tree.set_permissions(other, "/local/domain/5", perms({"b5"}), limits, changes).error(),
        Errno::acces);
    const Caller stub{7, 5};
    EXPECT_TRUE(tree.set_permissions(stub, "/local/domain/5", perms({"n5"}), limits, changes));
}

TEST_F(TreeTest, SnapshotsDoNotSeeLaterChanges) {
    ASSERT_TRUE(tree.write(control, "/a/b", "old", limits, changes));
    const Tree snapshot{tree};
    ASSERT_TRUE(tree.write(control, "/a/b", "new", limits, changes));
    ASSERT_TRUE(tree.remove(control, "/a", changes));
    EXPECT_EQ(snapshot.find("/a/b")->value, "old");
    EXPECT_EQ(tree.find("/a"), nullptr);
}

TEST_F(TreeTest, TransactionConflictsOnWhatItRead) {
    ASSERT_TRUE(tree.write(control, "/a", "1", limits, changes));
    Transaction reader{tree};
    ASSERT_TRUE(reader.read(control, "/a"));
    ASSERT_TRUE(reader.write(control, "/b", "2", limits));
    ASSERT_TRUE(tree.write(control, "/a", "changed", limits, changes));
    changes.clear();
    EXPECT_EQ(reader.commit(tree, limits, changes).error(), Errno::again);
    EXPECT_EQ(tree.find("/b"), nullptr);
    EXPECT_TRUE(changes.empty());
}

TEST_F(TreeTest, TransactionsOnDifferentNodesBothCommit) {
    Transaction one{tree};
    Transaction two{tree};
    ASSERT_TRUE(one.write(control, "/d/one", "1", limits));
    ASSERT_TRUE(two.write(control, "/d/two", "2", limits));
    EXPECT_TRUE(one.commit(tree, limits, changes));
    EXPECT_TRUE(two.commit(tree, limits, changes));
    EXPECT_EQ(tree.find("/d")->children.size(), 2u);
}

TEST_F(TreeTest, ATransactionRemembersABoundedAmount) {
    Transaction transaction{tree};
    const std::string value(2000, 'v');
    int written = 0;
    while (transaction.write(control, "/a", value, limits))
        ++written;
    EXPECT_GT(written, 100);
    EXPECT_LT(written, 140);
    EXPECT_TRUE(transaction.commit(tree, limits, changes));
}

TEST_F(TreeTest, TransactionConflictsOnAbsence) {
    Transaction transaction{tree};
    EXPECT_EQ(transaction.read(control, "/a").error(), Errno::noent);
    ASSERT_TRUE(tree.write(control, "/a", "", limits, changes));
    EXPECT_EQ(transaction.commit(tree, limits, changes).error(), Errno::again);
}

TEST_F(TreeTest, ADeadDomainLeavesNoRightsAndItsNodesToThoseAbove) {
    give_home(); // 5's
    const Caller dead{7, no_domain};
    const auto give = [&](const Caller& owner, const char* path,
                          std::initializer_list<std::string_view> texts) {
        ASSERT_TRUE(tree.set_permissions(owner, path, perms(texts), limits, changes));
    };
    ASSERT_TRUE(tree.make(guest, "/local/domain/5/shared", limits, changes));
    give(guest, "/local/domain/5/shared", {"n5", "b7", "r8"});
    ASSERT_TRUE(tree.write(dead, "/local/domain/5/shared/a/b", "v", limits, changes));
    ASSERT_TRUE(tree.write(control, "/tool/x", "v", limits, changes));
    give(control, "/tool/x", {"w0", "r7", "n7"});
    ASSERT_TRUE(tree.make(control, "/local/domain/7", limits, changes));
    give(control, "/local/domain/7", {"r7"});
    ASSERT_TRUE(tree.write(dead, "/local/domain/7/data", "v", limits, changes));
    EXPECT_EQ(tree.nodes_of(7), 4u);
    Transaction open{tree};
    ASSERT_TRUE(open.read(control, "/local/domain/7/data"));
    changes.clear();

    tree.forget_domain(7, changes);
    EXPECT_EQ(changes.size(), 6u);
    EXPECT_EQ(tree.nodes_of(7), 0u);
    EXPECT_EQ(tree.nodes_of(5), 4u);
    EXPECT_EQ(tree.find("/local/domain/5/shared")->permissions, perms({"n5", "r8"}));
    EXPECT_EQ(tree.find("/local/domain/5/shared/a/b")->permissions.owner(), 5);
    EXPECT_EQ(tree.find("/local/domain/5/shared/a/b")->value, "v");
    EXPECT_EQ(tree.find("/tool/x")->permissions, perms({"w0"}));
    EXPECT_EQ(tree.find("/local/domain/7")->permissions, perms({"r0"}));
    EXPECT_EQ(tree.find("/local/domain/7/data")->permissions.owner(), 0);
    EXPECT_EQ(open.commit(tree, limits, changes).error(), Errno::again);
    changes.clear();
    tree.forget_domain(7, changes);
    EXPECT_TRUE(changes.empty());
}

/// The simplest thing that could be the store: a map from path to value, all of it dom0's.
using Model = std::map<std::string, std::string>;

void model_write(Model& model, const std::string& path, const std::string& value) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1))
        model.try_emplace(path.substr(0, slash));
    model[path] = value;
}

void model_remove(Model& model, const std::string& path) {
    std::erase_if(model, [&](const auto& entry) {
        return entry.first == path || entry.first.starts_with(path + "/");
    });
}

Model as_model(const Tree& tree) {
    Model model;
    walk(tree.root(), "/", [&](const std::string& path, const Node& node) {
        if (path != "/")
            model[path] = node.value;
    });
    return model;
}

TEST_F(TreeTest, RandomOperationsAgreeWithAModel) {
    std::mt19937 random{7};
    const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    const auto random_path = [&] {
        std::string path;
        for (unsigned depth = 1 + pick(3); depth > 0; --depth)
            path += std::string{"/"} + static_cast<char>('a' + pick(4));
        return path;
    };
    struct Open {
        Transaction transaction;
        Model view;
        Model base;
        std::set<std::string> reads;
        std::vector<std::pair<std::string, std::optional<std::string>>> writes;
    };
    Model model;
    std::vector<std::unique_ptr<Open>> open;
    int commits = 0;
    int conflicts = 0;
    for (int step = 0; step < 30000; ++step) {
        const std::string path = random_path();
        const std::string value = std::to_string(step);
        Open* in = !open.empty() && pick(2) == 0
                       ? open[pick(static_cast<unsigned>(open.size()))].get()
                       : nullptr;
        switch (pick(8)) {
        case 0:
        case 1:
        case 2:
            if (in != nullptr) {
                ASSERT_TRUE(in->transaction.write(control, path, value, limits));
                model_write(in->view, path, value);
                in->writes.emplace_back(path, value);
            } else {
                ASSERT_TRUE(tree.write(control, path, value, limits, changes));
                model_write(model, path, value);
            }
            break;
        case 3:
            if (in != nullptr) {
                const bool removed = in->transaction.remove(control, path).has_value();
                if (removed) {
                    model_remove(in->view, path);
                    in->writes.emplace_back(path, std::nullopt);
                }
            } else if (tree.remove(control, path, changes)) {
                model_remove(model, path);
            }
            break;
        case 4:
        case 5: {
            const Model& seen = in != nullptr ? in->view : model;
            auto node =
                in != nullptr ? in->transaction.read(control, path) : tree.read(control, path);
            const auto expected = seen.find(path);
            ASSERT_EQ(node.has_value(), expected != seen.end()) << path;
            if (node) {
                ASSERT_EQ((*node)->value, expected->second);
            }
            if (in != nullptr)
                in->reads.insert(path);
            break;
        }
        case 6:
            if (open.size() < 4)
                open.push_back(
                    std::make_unique<Open>(Open{Transaction{tree}, model, model, {}, {}}));
            break;
        default:
            if (open.empty())
                break;
            const unsigned which = pick(static_cast<unsigned>(open.size()));
            const std::unique_ptr<Open> ending = std::move(open[which]);
            open.erase(open.begin() + which);
            if (const Status done = ending->transaction.commit(tree, limits, changes); done) {
                ++commits;
                // What it read must still have been true, and its writes happen now.
                for (const std::string& read : ending->reads) {
                    const auto before = ending->base.find(read);
                    const auto now = model.find(read);
                    ASSERT_EQ(before == ending->base.end(), now == model.end()) << read;
                    if (now != model.end()) {
                        ASSERT_EQ(before->second, now->second) << read;
                    }
                }
                for (const auto& [at, text] : ending->writes) {
                    if (text)
                        model_write(model, at, *text);
                    else
                        model_remove(model, at);
                }
            } else {
                ASSERT_EQ(done.error(), Errno::again);
                ++conflicts;
            }
        }
        if (step % 64 == 0) {
            ASSERT_EQ(as_model(tree), model);
            ASSERT_EQ(tree.nodes_of(0), model.size() + 1);
        }
    }
    EXPECT_GT(commits, 100);
    EXPECT_GT(conflicts, 100);
}

} // namespace
} // namespace cero::store
