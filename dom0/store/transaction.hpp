// SPDX-License-Identifier: BSD-2-Clause
// Transaction: a private snapshot, a list of what it looked at, and a list of what it changed.
#pragma once

#include "store/tree.hpp"

#include <set>

namespace cero::store {

/// Isolation by snapshot; at commit every node that was looked at or changed must be as it was when
/// the transaction began, and then the changes are replayed on the live tree, all or none.
class Transaction {
public:
    explicit Transaction(const Tree& live) : base_{live}, view_{live} {}

    /// Bounds on what one transaction may remember, against a guest that never commits.
    static constexpr std::size_t operations_max = 2048;
    static constexpr std::size_t bytes_max = 256 << 10;

    [[nodiscard]] Result<const Node*> read(const Caller& caller, std::string_view path);
    Status write(const Caller& caller, std::string_view path, std::string_view value,
                 const TreeLimits& limits);
    Status make(const Caller& caller, std::string_view path, const TreeLimits& limits);
    Status remove(const Caller& caller, std::string_view path);
    Status set_permissions(const Caller& caller, std::string_view path,
                           const Permissions& permissions, const TreeLimits& limits);

    /// One that an earlier process began: what it looked at is not known, so its end is EAGAIN.
    void lose() noexcept { is_lost_ = true; }

    /// Replays the changes on `live` and reports them; again when somebody else changed what this
    /// transaction relies on. On any error `live` is untouched.
    Status commit(Tree& live, const TreeLimits& limits, std::vector<Change>& changes) const;

private:
    struct Step {
        enum class Kind { write, make, remove, set_permissions } kind;
        Caller caller;
        std::string path;
        std::string value;
        Permissions permissions;
    };
    Status touch(std::string_view path);
    /// Nospc when a step with so many bytes would be too much.
    [[nodiscard]] Status reserve(std::size_t bytes);

    Tree base_;
    Tree view_;
    std::set<std::string, std::less<>> touched_;
    std::vector<Step> steps_;
    bool is_lost_{false};
    std::size_t bytes_{0}; ///< of paths and values in touched_ and steps_
};

} // namespace cero::store
