// SPDX-License-Identifier: BSD-2-Clause
// Tree: XenStore's nodes. A copy of a tree is a snapshot: it shares all nodes until either side
// changes.
#pragma once

#include "store/permissions.hpp"

#include <cero/lib/result.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cero::store {

/// One node. Shared between snapshots and therefore never changed while more than one tree has it.
struct Node {
    std::string name;
    std::string value;
    Permissions permissions;
    std::uint64_t generation{}; ///< changes with value, permissions and list of children
    std::vector<std::shared_ptr<Node>> children; ///< sorted by name
};

/// A change that watches want to hear of.
struct Change {
    std::string path;
    std::shared_ptr<const Node> removed; ///< set when the node and all below it are gone
    Permissions permissions;             ///< of the node after, or before it was removed
};

struct TreeLimits {
    std::size_t nodes_per_domain{1000};
    std::size_t value_size{2048};
    std::size_t permission_entries{5};
};

/// Rules of access, quota and inheritance live here; transactions, watches and transport do not.
/// Not thread safe. Paths given to any member must be valid absolute paths (is_valid_path).
class Tree {
public:
    Tree();

    [[nodiscard]] const Node* find(std::string_view path) const noexcept;

    /// The node for reading. A missing or forbidden node is reported as missing only to those who
    /// may read its nearest existing ancestor.
    [[nodiscard]] Result<const Node*> read(const Caller& caller, std::string_view path) const;

    Status write(const Caller& caller, std::string_view path, std::string_view value,
                 const TreeLimits& limits, std::vector<Change>& changes);
    Status make(const Caller& caller, std::string_view path, const TreeLimits& limits,
                std::vector<Change>& changes);
    Status remove(const Caller& caller, std::string_view path, std::vector<Change>& changes);
    Status set_permissions(const Caller& caller, std::string_view path,
                           const Permissions& permissions, const TreeLimits& limits,
                           std::vector<Change>& changes);

    /// For a domain that is no more, whose number will be another's: nobody has given it any right,
    /// and each of its nodes belongs to the owner of the node above.
    void forget_domain(DomainNumber domain, std::vector<Change>& changes);

    [[nodiscard]] std::size_t nodes_of(DomainNumber domain) const noexcept;
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
    [[nodiscard]] const Node& root() const noexcept { return *root_; }

private:
    using NodePtr = std::shared_ptr<Node>;
    /// Makes a node ours alone, by copying it if a snapshot has it too.
    static Node& own(NodePtr& pointer);
    /// The node at `path` with everything on the way owned; null when it does not exist.
    Node* find_owned(std::string_view path);
    [[nodiscard]] const Node* nearest(std::string_view path) const noexcept;
    Status create(const Caller& caller, std::string_view path, std::string_view value,
                  const TreeLimits& limits);
    void count(DomainNumber domain, std::ptrdiff_t by);
    void uncount_all(const Node& node);

    NodePtr root_;
    std::map<DomainNumber, std::size_t> owned_;
    std::uint64_t generation_{1};
};

/// Calls `visit(path, node)` for a node and everything below it, parents first.
void walk(const Node& node, const std::string& path,
          const std::function<void(const std::string&, const Node&)>& visit);

[[nodiscard]] std::string_view parent_path(std::string_view path) noexcept;

} // namespace cero::store
