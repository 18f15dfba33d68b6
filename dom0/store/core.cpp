// SPDX-License-Identifier: BSD-2-Clause
// XenStore's requests: decoding of arguments, access, transactions, watches.
#include "store/core.hpp"

#include "base/number.hpp"

#include <algorithm>
#include <utility>

namespace cero::store {

namespace {

bool is_below(std::string_view path, std::string_view top) noexcept {
    if (top == "/")
        return true;
    return path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/';
}

std::size_t levels_between(std::string_view path, std::string_view top) noexcept {
    if (path == top)
        return 0;
    const std::string_view rest = path.substr(top == "/" ? 0 : top.size());
    return static_cast<std::size_t>(std::count(rest.begin(), rest.end(), '/'));
}

/// The node of a removed subtree that stood at `path`, below `top` where `removed` stood.
const Node* find_in_removed(const Node& removed, std::string_view top, std::string_view path) {
    const Node* node = &removed;
    std::string_view rest = path.substr(top.size());
    while (!rest.empty()) {
        rest.remove_prefix(1);
        const std::size_t slash = rest.find('/');
        const std::string_view name = rest.substr(0, slash);
        rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash);
        const auto at = std::find_if(node->children.begin(), node->children.end(),
                                     [&](const auto& child) { return child->name == name; });
        if (at == node->children.end())
            return nullptr;
        node = at->get();
    }
    return node;
}

} // namespace

std::string Core::home_of(DomainNumber domain) {
    return "/local/domain/" + std::to_string(domain);
}

void Core::add(Connection& connection) {
    connections_.insert(&connection);
    if (connection.is_kernel)
        kernel_ = &connection;
}

void Core::remove(Connection& connection) {
    connections_.erase(&connection);
    if (kernel_ == &connection)
        kernel_ = nullptr;
}

bool Core::is_congested(const Connection& connection) const noexcept {
    if (connection.caller.is_privileged())
        return connection.queued_messages() >= limits_.control_queue / 2;
    if (kernel_ != nullptr && kernel_->queued_events() >= limits_.kernel_events)
        return true;
    return connection.queued_replies() >= limits_.outstanding;
}

bool Core::serve(Connection& connection) {
    bool worked = false;
    connection.has_had_turn = false;
    while (!connection.is_doomed() && !connection.has_had_turn && !is_congested(connection)) {
        const auto message = connection.decoder.next();
        if (!message)
            break;
        worked = true;
        std::vector<Change> changes;
        Request request{connection, *message, nullptr, changes};
        const auto type = static_cast<Op>(message->type);
        const auto transaction = connection.transactions.find(message->transaction);
        if (transaction != connection.transactions.end())
            request.transaction = transaction->second.get();
        const bool known = message->transaction == 0 || request.transaction != nullptr;
        Reply answer = known ? dispatch(request) : Reply{Errno::noent};
        Message out{message->type, message->request, message->transaction, {}};
        if (answer && answer->size() <= payload_max) {
            out.payload = std::move(*answer);
        } else {
            out.type = std::to_underlying(Op::error);
            out.payload = error_name(answer ? Errno::too_big : answer.error());
            out.payload.push_back('\0');
        }
        if (!answer && !connection.caller.is_privileged() &&
            (answer.error() == Errno::nospc || answer.error() == Errno::too_big))
            connection.has_hit_quota = true;
        connection.push_reply(out);
        if (new_watch_pending_) {
            new_watch_pending_ = false;
            const Watch& fresh = connection.watches.back();
            connection.push_event(std::string_view{fresh.path}.substr(fresh.prefix.size()),
                                  fresh.token, limits_, true);
        }
        if (on_change && !changes.empty())
            on_change(changes);
        notify(changes);
        if (type == Op::introduce && answer)
            announce("@introduceDomain");
        if (type == Op::release && answer)
            announce("@releaseDomain");
        connection.has_had_turn = type == Op::transaction_end && !connection.caller.is_privileged();
    }
    return worked;
}

Core::Reply Core::dispatch(Request& request) {
    switch (static_cast<Op>(request.message.type)) {
    case Op::directory:
        return directory(request);
    case Op::directory_part:
        return directory_part(request);
    case Op::read:
        return read(request);
    case Op::write:
        return write(request);
    case Op::mkdir:
        return make(request);
    case Op::rm:
        return remove_node(request);
    case Op::get_perms:
        return get_permissions(request);
    case Op::set_perms:
        return set_permissions(request);
    case Op::watch:
        return watch(request);
    case Op::unwatch:
        return unwatch(request);
    case Op::transaction_start:
        return start_transaction(request);
    case Op::transaction_end:
        return end_transaction(request);
    case Op::introduce:
        return introduce(request);
    case Op::release:
    case Op::resume:
    case Op::get_domain_path:
    case Op::is_domain_introduced:
        return domain_operation(request);
    case Op::set_target:
        return set_target(request);
    case Op::reset_watches:
        request.connection.reset_state();
        return ok();
    case Op::control:
        return control(request);
    case Op::watch_event:
    case Op::error:
        return Errno::inval;
    }
    return Errno::nosys;
}

Result<std::string> Core::absolute_path(const Connection& connection, std::string_view path) const {
    if (path.empty())
        return Errno::inval;
    std::string absolute;
    if (path.front() == '/' || path.front() == '@') {
        absolute = path;
    } else {
        if (path.size() > relative_path_max)
            return Errno::inval;
        absolute = home_of(connection.caller.domain) + "/";
        absolute += path;
    }
    if (!is_valid_path(absolute))
        return Errno::inval;
    return absolute;
}

Result<std::string> Core::only_path(const Request& request) const {
    const std::string_view path = TRY(only_string(request.message.payload));
    return absolute_path(request.connection, path);
}

Result<const Node*> Core::look(Request& request, std::string_view path) {
    if (path.front() == '@')
        return Errno::inval;
    if (request.transaction != nullptr)
        return request.transaction->read(request.connection.caller, path);
    return tree_.read(request.connection.caller, path);
}

Core::Reply Core::directory(Request& request) {
    const std::string path = TRY(only_path(request));
    const Node* node = TRY(look(request, path));
    std::string names;
    for (const auto& child : node->children) {
        names += child->name;
        names += '\0';
    }
    return names;
}

Core::Reply Core::directory_part(Request& request) {
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() != 2)
        return Errno::inval;
    const std::string path = TRY(absolute_path(request.connection, (*strings)[0]));
    const auto offset = number_of<std::size_t>((*strings)[1]);
    if (!offset)
        return Errno::inval;
    const Node* node = TRY(look(request, path));
    std::string reply = std::to_string(node->generation);
    reply += '\0';
    std::size_t position = 0;
    for (const auto& child : node->children) {
        const std::size_t size = child->name.size() + 1;
        if (position >= *offset) {
            if (reply.size() + size + 1 > payload_max)
                return reply; // the client asks for the rest with a larger offset
            reply += child->name;
            reply += '\0';
        } else if (position + size > *offset) {
            return Errno::inval; // not at the start of a name
        }
        position += size;
    }
    if (*offset > position)
        return Errno::inval;
    reply += '\0'; // an empty name says that this was the end
    return reply;
}

Core::Reply Core::read(Request& request) {
    const std::string path = TRY(only_path(request));
    return std::string {
        TRY(look(request, path))
        ->value
    };
}

Core::Reply Core::write(Request& request) {
    const std::string_view payload = request.message.payload;
    const std::size_t nul = payload.find('\0');
    if (nul == std::string_view::npos)
        return Errno::inval;
    const std::string path = TRY(absolute_path(request.connection, payload.substr(0, nul)));
    if (path.front() == '@')
        return Errno::inval;
    const std::string_view value = payload.substr(nul + 1);
    const Caller& caller = request.connection.caller;
    if (request.transaction != nullptr)
        TRY(request.transaction->write(caller, path, value, limits_.tree));
    else
        TRY(tree_.write(caller, path, value, limits_.tree, request.changes));
    return ok();
}

Core::Reply Core::make(Request& request) {
    const std::string path = TRY(only_path(request));
    if (path.front() == '@')
        return Errno::inval;
    const Caller& caller = request.connection.caller;
    if (request.transaction != nullptr)
        TRY(request.transaction->make(caller, path, limits_.tree));
    else
        TRY(tree_.make(caller, path, limits_.tree, request.changes));
    return ok();
}

Core::Reply Core::remove_node(Request& request) {
    const std::string path = TRY(only_path(request));
    if (path.front() == '@')
        return Errno::inval;
    const Caller& caller = request.connection.caller;
    if (request.transaction != nullptr)
        TRY(request.transaction->remove(caller, path));
    else
        TRY(tree_.remove(caller, path, request.changes));
    return ok();
}

Core::Reply Core::get_permissions(Request& request) {
    const std::string path = TRY(only_path(request));
    return TRY(look(request, path))
    ->permissions.to_wire();
}

Core::Reply Core::set_permissions(Request& request) {
    auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() < 2)
        return Errno::inval;
    const std::string path = TRY(absolute_path(request.connection, strings->front()));
    if (path.front() == '@')
        return Errno::inval;
    strings->erase(strings->begin());
    const auto permissions = Permissions::from_strings(*strings);
    if (!permissions)
        return Errno::inval;
    const Caller& caller = request.connection.caller;
    if (request.transaction != nullptr)
        TRY(request.transaction->set_permissions(caller, path, *permissions, limits_.tree));
    else
        TRY(tree_.set_permissions(caller, path, *permissions, limits_.tree, request.changes));
    return ok();
}

Core::Reply Core::watch(Request& request) {
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() < 2 || strings->size() > 3)
        return Errno::inval;
    Connection& connection = request.connection;
    Watch watch {
        TRY(absolute_path(connection, (*strings)[0]))
        , std::string{(*strings)[1]}, {}, {}
    };
    if (strings->size() == 3) {
        const auto depth = number_of<unsigned>((*strings)[2]);
        if (!depth)
            return Errno::inval;
        watch.depth = *depth;
    }
    const char first = (*strings)[0].front();
    if (first != '/' && first != '@')
        watch.prefix = home_of(connection.caller.domain) + "/";
    for (const Watch& other : connection.watches)
        if (other.path == watch.path && other.token == watch.token)
            return Errno::exist;
    if (!connection.caller.is_privileged() && connection.watches.size() >= limits_.watches)
        return Errno::too_big;
    connection.watches.push_back(std::move(watch));
    ++connection.watch_revision;
    new_watch_pending_ = true;
    return ok();
}

Core::Reply Core::unwatch(Request& request) {
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() != 2)
        return Errno::inval;
    Connection& connection = request.connection;
    const std::string path = TRY(absolute_path(connection, (*strings)[0]));
    const auto at =
        std::find_if(connection.watches.begin(), connection.watches.end(), [&](const Watch& watch) {
            return watch.path == path && watch.token == (*strings)[1];
        });
    if (at == connection.watches.end())
        return Errno::noent;
    connection.watches.erase(at);
    ++connection.watch_revision;
    return ok();
}

Core::Reply Core::start_transaction(Request& request) {
    Connection& connection = request.connection;
    if (request.transaction != nullptr)
        return Errno::busy;
    if (!connection.caller.is_privileged() &&
        connection.transactions.size() >= limits_.transactions)
        return Errno::nospc;
    while (next_transaction_ == 0 || connection.transactions.contains(next_transaction_))
        ++next_transaction_;
    const std::uint32_t id = next_transaction_++;
    connection.transactions.emplace(id, std::make_unique<Transaction>(tree_));
    std::string reply = std::to_string(id);
    reply += '\0';
    return reply;
}

Core::Reply Core::end_transaction(Request& request) {
    const std::string_view payload = request.message.payload;
    const bool commit = payload == std::string_view{"T\0", 2} || payload == "T";
    if (!commit && payload != std::string_view{"F\0", 2} && payload != "F")
        return Errno::inval;
    if (request.transaction == nullptr)
        return Errno::noent;
    const auto at = request.connection.transactions.find(request.message.transaction);
    const std::unique_ptr<Transaction> transaction = std::move(at->second);
    request.connection.transactions.erase(at);
    request.transaction = nullptr;
    if (commit)
        TRY(transaction->commit(tree_, limits_.tree, request.changes));
    return ok();
}

void Core::notify_one(Connection& connection, const Watch& watch, const Change& change) {
    const auto within_depth = [&](std::string_view path) {
        return !watch.depth || levels_between(path, watch.path) <= *watch.depth;
    };
    const auto report = [&](std::string_view path) {
        connection.push_event(path.substr(path.starts_with(watch.prefix) ? watch.prefix.size() : 0),
                              watch.token, limits_);
    };
    if (change.path == watch.path || is_below(change.path, watch.path)) {
        if (change.permissions.rights_of(connection.caller).read && within_depth(change.path))
            report(change.path);
        return;
    }
    if (change.removed && is_below(watch.path, change.path)) {
        const Node* node = find_in_removed(*change.removed, change.path, watch.path);
        if (node != nullptr && node->permissions.rights_of(connection.caller).read)
            report(watch.path);
    }
}

void Core::notify(const std::vector<Change>& changes) {
    for (const Change& change : changes)
        for (Connection* connection : connections_) {
            work_ += connection->watches.size();
            for (const Watch& watch : connection->watches)
                notify_one(*connection, watch, change);
        }
}

void Core::announce(std::string_view special) {
    for (Connection* connection : connections_)
        for (const Watch& watch : connection->watches)
            if (watch.path == special && connection->caller.is_privileged())
                connection->push_event(special, watch.token, limits_);
}

} // namespace cero::store
