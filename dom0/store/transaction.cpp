// SPDX-License-Identifier: BSD-2-Clause
// Transactions by snapshot, generation check and replay.
#include "store/transaction.hpp"

#include <algorithm>
#include <map>

namespace cero::store {

namespace {

/// Steps that repeat each other are one change to all others: each path at most once as removed and
/// once as changed, where it was last. What the first removal took away is all that others had
/// seen.
std::vector<Change> once_per_path(std::vector<Change> all) {
    std::map<std::string_view, const Change*> first_removals;
    for (const Change& change : all)
        if (change.removed)
            first_removals.try_emplace(change.path, &change);
    std::set<std::pair<std::string_view, bool>> seen;
    std::vector<Change> kept;
    for (auto change = all.rbegin(); change != all.rend(); ++change) {
        if (!seen.emplace(change->path, change->removed != nullptr).second)
            continue;
        kept.push_back(change->removed ? *first_removals.at(change->path) : *change);
    }
    std::reverse(kept.begin(), kept.end());
    return kept;
}

} // namespace

Status Transaction::touch(std::string_view path) {
    if (touched_.contains(path))
        return {};
    if (touched_.size() >= operations_max)
        return Errno::nospc;
    TRY(reserve(path.size()));
    touched_.emplace(path);
    return {};
}

Status Transaction::reserve(std::size_t bytes) {
    if (bytes_ + bytes > bytes_max)
        return Errno::nospc;
    bytes_ += bytes;
    return {};
}

Result<const Node*> Transaction::read(const Caller& caller, std::string_view path) {
    TRY(touch(path));
    return view_.read(caller, path);
}

Status Transaction::write(const Caller& caller, std::string_view path, std::string_view value,
                          const TreeLimits& limits) {
    if (steps_.size() >= operations_max)
        return Errno::nospc;
    TRY(touch(path));
    TRY(reserve(path.size() + value.size()));
    std::vector<Change> unreported;
    TRY(view_.write(caller, path, value, limits, unreported));
    steps_.push_back({Step::Kind::write, caller, std::string{path}, std::string{value}, {}});
    return {};
}

Status Transaction::make(const Caller& caller, std::string_view path, const TreeLimits& limits) {
    if (steps_.size() >= operations_max)
        return Errno::nospc;
    TRY(touch(path));
    TRY(reserve(path.size()));
    std::vector<Change> unreported;
    TRY(view_.make(caller, path, limits, unreported));
    steps_.push_back({Step::Kind::make, caller, std::string{path}, {}, {}});
    return {};
}

Status Transaction::remove(const Caller& caller, std::string_view path) {
    if (steps_.size() >= operations_max)
        return Errno::nospc;
    TRY(touch(path));
    TRY(reserve(path.size()));
    std::vector<Change> unreported;
    TRY(view_.remove(caller, path, unreported));
    steps_.push_back({Step::Kind::remove, caller, std::string{path}, {}, {}});
    return {};
}

Status Transaction::set_permissions(const Caller& caller, std::string_view path,
                                    const Permissions& permissions, const TreeLimits& limits) {
    if (steps_.size() >= operations_max)
        return Errno::nospc;
    TRY(touch(path));
    TRY(reserve(path.size()));
    std::vector<Change> unreported;
    TRY(view_.set_permissions(caller, path, permissions, limits, unreported));
    steps_.push_back({Step::Kind::set_permissions, caller, std::string{path}, {}, permissions});
    return {};
}

Status Transaction::commit(Tree& live, const TreeLimits& limits,
                           std::vector<Change>& changes) const {
    if (is_lost_)
        return Errno::again;
    for (const std::string& path : touched_) {
        const Node* before = base_.find(path);
        const Node* now = live.find(path);
        if ((before == nullptr) != (now == nullptr) ||
            (before != nullptr && before->generation != now->generation))
            return Errno::again;
    }
    Tree trial{live};
    std::vector<Change> trial_changes;
    for (const Step& step : steps_) {
        const auto replay = [&]() -> Status {
            switch (step.kind) {
            case Step::Kind::write:
                return trial.write(step.caller, step.path, step.value, limits, trial_changes);
            case Step::Kind::make:
                return trial.make(step.caller, step.path, limits, trial_changes);
            case Step::Kind::remove:
                return trial.remove(step.caller, step.path, trial_changes);
            case Step::Kind::set_permissions:
                return trial.set_permissions(step.caller, step.path, step.permissions, limits,
                                             trial_changes);
            }
            return Errno::inval;
        };
        if (const Status done = replay(); !done)
            return done.error() == Errno::nospc ? Errno::nospc : Errno::again;
    }
    live = std::move(trial);
    for (Change& change : once_per_path(std::move(trial_changes)))
        changes.push_back(std::move(change));
    return {};
}

} // namespace cero::store
