// SPDX-License-Identifier: BSD-2-Clause
// XenStore's node tree with copy-on-write sharing between snapshots.
#include "store/tree.hpp"

#include <algorithm>

namespace cero::store {

namespace {

/// Takes the next component off an absolute path ("/a/b" gives "a" and leaves "/b").
std::string_view take_component(std::string_view& path) noexcept {
    path.remove_prefix(1);
    const std::size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash);
    return component;
}

template <typename Children>
auto position_of(Children& children, std::string_view name) noexcept {
    return std::lower_bound(children.begin(), children.end(), name,
                            [](const std::shared_ptr<Node>& node, std::string_view wanted) {
                                return std::string_view{node->name}.compare(wanted) < 0;
                            });
}

template <typename Children>
auto child_of(Children& children, std::string_view name) noexcept {
    const auto at = position_of(children, name);
    return at != children.end() && (*at)->name == name ? at : children.end();
}

} // namespace

std::string_view parent_path(std::string_view path) noexcept {
    const std::size_t slash = path.rfind('/');
    return slash == 0 || slash == std::string_view::npos ? std::string_view{"/"}
                                                         : path.substr(0, slash);
}

Tree::Tree() : root_{std::make_shared<Node>()} {
    root_->generation = generation_;
    count(0, 1);
}

Node& Tree::own(NodePtr& pointer) {
    if (pointer.use_count() > 1)
        pointer = std::make_shared<Node>(*pointer);
    return *pointer;
}

const Node* Tree::find(std::string_view path) const noexcept {
    const Node* node = root_.get();
    while (path.size() > 1) {
        const auto at = child_of(node->children, take_component(path));
        if (at == node->children.end())
            return nullptr;
        node = at->get();
    }
    return node;
}

const Node* Tree::nearest(std::string_view path) const noexcept {
    const Node* node = root_.get();
    while (path.size() > 1) {
        const auto at = child_of(node->children, take_component(path));
        if (at == node->children.end())
            break;
        node = at->get();
    }
    return node;
}

Node* Tree::find_owned(std::string_view path) {
    if (find(path) == nullptr) // do not copy anything for a path that does not exist
        return nullptr;
    Node* node = &own(root_);
    while (path.size() > 1)
        node = &own(*child_of(node->children, take_component(path)));
    return node;
}

Result<const Node*> Tree::read(const Caller& caller, std::string_view path) const {
    const Node* node = find(path);
    if (node != nullptr && node->permissions.rights_of(caller).read)
        return node;
    const Node* judge = node != nullptr ? nullptr : nearest(path);
    if (judge == nullptr || !judge->permissions.rights_of(caller).read)
        return Errno::acces;
    return Errno::noent;
}

void Tree::count(DomainNumber domain, std::ptrdiff_t by) {
    std::size_t& total = owned_[domain];
    total += static_cast<std::size_t>(by);
    if (total == 0)
        owned_.erase(domain);
}

void Tree::uncount_all(const Node& node) {
    count(node.permissions.owner(), -1);
    for (const NodePtr& child : node.children)
        uncount_all(*child);
}

std::size_t Tree::nodes_of(DomainNumber domain) const noexcept {
    const auto at = owned_.find(domain);
    return at == owned_.end() ? 0 : at->second;
}

Status Tree::create(const Caller& caller, std::string_view path, std::string_view value,
                    const TreeLimits& limits) {
    // Check all of it first: nothing may have changed when an error is returned.
    const Node* parent = root_.get();
    std::string_view rest = path;
    for (;;) {
        std::string_view after = rest;
        const auto at = child_of(parent->children, take_component(after));
        if (at == parent->children.end())
            break;
        parent = at->get();
        rest = after;
    }
    if (!parent->permissions.rights_of(caller).write)
        return Errno::acces;
    const auto missing = static_cast<std::size_t>(std::count(rest.begin(), rest.end(), '/'));
    if (!caller.is_privileged() && nodes_of(caller.domain) + missing > limits.nodes_per_domain)
        return Errno::nospc;

    const std::string_view existing = path.substr(0, path.size() - rest.size());
    Node* node = find_owned(existing.empty() ? "/" : existing);
    ++generation_;
    while (!rest.empty()) {
        node->generation = generation_;
        auto child = std::make_shared<Node>();
        child->name = take_component(rest);
        child->permissions = node->permissions;
        child->generation = generation_;
        if (!caller.is_privileged())
            child->permissions.set_owner(caller.domain);
        count(child->permissions.owner(), 1);
        node = node->children.insert(position_of(node->children, child->name), std::move(child))
                   ->get();
    }
    node->value = value;
    return {};
}

Status Tree::write(const Caller& caller, std::string_view path, std::string_view value,
                   const TreeLimits& limits, std::vector<Change>& changes) {
    if (!caller.is_privileged() && value.size() > limits.value_size)
        return Errno::nospc;
    const Node* existing = find(path);
    if (existing == nullptr) {
        TRY(create(caller, path, value, limits));
        changes.push_back({std::string{path}, nullptr, find(path)->permissions});
        return {};
    }
    if (!existing->permissions.rights_of(caller).write)
        return Errno::acces;
    Node* node = find_owned(path);
    node->value = value;
    node->generation = ++generation_;
    changes.push_back({std::string{path}, nullptr, node->permissions});
    return {};
}

Status Tree::make(const Caller& caller, std::string_view path, const TreeLimits& limits,
                  std::vector<Change>& changes) {
    if (const Node* node = find(path); node != nullptr) {
        if (!node->permissions.rights_of(caller).write)
            return Errno::acces;
        return {};
    }
    TRY(create(caller, path, {}, limits));
    changes.push_back({std::string{path}, nullptr, find(path)->permissions});
    return {};
}

Status Tree::remove(const Caller& caller, std::string_view path, std::vector<Change>& changes) {
    if (path == "/")
        return Errno::inval;
    const Node* node = find(path);
    if (node == nullptr) {
        const Node* parent = find(parent_path(path));
        if (parent == nullptr)
            return nearest(path)->permissions.rights_of(caller).read ? Errno::noent : Errno::acces;
        if (!parent->permissions.rights_of(caller).write)
            return Errno::acces;
        return {};
    }
    if (!node->permissions.rights_of(caller).write)
        return Errno::acces;
    Node* parent = find_owned(parent_path(path));
    const auto at = child_of(parent->children, node->name);
    NodePtr gone = std::move(*at);
    parent->children.erase(at);
    parent->generation = ++generation_;
    uncount_all(*gone);
    Permissions permissions = gone->permissions;
    changes.push_back({std::string{path}, std::move(gone), std::move(permissions)});
    return {};
}

Status Tree::set_permissions(const Caller& caller, std::string_view path,
                             const Permissions& permissions, const TreeLimits& limits,
                             std::vector<Change>& changes) {
    TRY(read(caller, path));
    const Node* existing = find(path);
    if (!existing->permissions.is_owned_by(caller))
        return Errno::acces;
    if (!caller.is_privileged()) {
        if (permissions.owner() != existing->permissions.owner())
            return Errno::perm;
        if (permissions.entries().size() > limits.permission_entries)
            return Errno::nospc;
    }
    Node* node = find_owned(path);
    count(node->permissions.owner(), -1);
    count(permissions.owner(), 1);
    node->permissions = permissions;
    node->generation = ++generation_;
    changes.push_back({std::string{path}, nullptr, permissions});
    return {};
}

void Tree::forget_domain(DomainNumber domain, std::vector<Change>& changes) {
    std::vector<std::string> paths; // parents first: an heir has been found when its child is seen
    walk(*root_, "/", [&](const std::string& path, const Node& node) {
        if (node.permissions.names(domain))
            paths.push_back(path);
    });
    for (const std::string& path : paths) {
        const DomainNumber heir =
            path == "/" ? DomainNumber{0} : find(parent_path(path))->permissions.owner();
        Node* node = find_owned(path);
        count(node->permissions.owner(), -1);
        node->permissions.forget(domain, heir);
        count(node->permissions.owner(), 1);
        node->generation = ++generation_;
        changes.push_back({path, nullptr, node->permissions});
    }
}

void walk(const Node& node, const std::string& path,
          const std::function<void(const std::string&, const Node&)>& visit) {
    visit(path, node);
    for (const auto& child : node.children)
        walk(*child, (path == "/" ? path : path + "/") + child->name, visit);
}

} // namespace cero::store
