// SPDX-License-Identifier: BSD-2-Clause
// Core: the store without any transport: takes requests of connections, queues replies and events.
#pragma once

#include "store/connection.hpp"
#include "store/tree.hpp"

#include <set>
#include <utility>

namespace cero::store {

/// What the store needs from the machine to serve domains; a test replaces it.
class DomainService {
public:
    virtual ~DomainService() = default;
    /// Connects (or reconnects) the ring of a domain.
    virtual Status introduce(DomainNumber domain, std::uint64_t frame, std::uint32_t port) = 0;
    virtual Status release(DomainNumber domain) = 0;
    [[nodiscard]] virtual bool is_introduced(DomainNumber domain) const = 0;
    virtual Status resume(DomainNumber domain) = 0;
    virtual Status set_target(DomainNumber domain, DomainNumber target) = 0;
};

/// Invariants: every registered connection outlives its registration; a reply is queued before the
/// events that its request causes. Not thread safe.
class Core {
public:
    Core(DomainService& domains, Limits limits) : domains_{domains}, limits_{limits} {}

    void add(Connection& connection);
    void remove(Connection& connection);

    /// Handles what the connection's decoder holds, until it is empty, the client is congested, or
    /// a guest has had its turn: the end of a transaction is many requests' work. Returns whether
    /// anything was handled.
    bool serve(Connection& connection);
    /// True when serve() would not take another request now: the client has too many unread
    /// answers, or it is a guest and dom0's kernel is behind with its events.
    [[nodiscard]] bool is_congested(const Connection& connection) const noexcept;

    /// Sends "@introduceDomain" or "@releaseDomain" to those who watch it.
    void announce(std::string_view special);

    /// A domain has died: nothing that the next one with its number could inherit stays behind.
    void forget_domain(DomainNumber domain);

    /// How many times a change was held against a watch since the last call: the measure of work.
    [[nodiscard]] std::size_t take_work() noexcept { return std::exchange(work_, 0); }

    /// Hears of every change of the tree, after it has been made.
    std::function<void(const std::vector<Change>&)> on_change;

    [[nodiscard]] const Tree& tree() const noexcept { return tree_; }
    [[nodiscard]] Tree& tree() noexcept { return tree_; }
    [[nodiscard]] const Limits& limits() const noexcept { return limits_; }

private:
    using Reply = Result<std::string>;
    struct Request {
        Connection& connection;
        const Message& message;
        Transaction* transaction;
        std::vector<Change>& changes;
    };
    static Reply ok() { return std::string{"OK\0", 3}; }
    static std::string home_of(DomainNumber domain);
    Reply dispatch(Request& request);
    Reply directory(Request& request);
    Reply directory_part(Request& request);
    Reply read(Request& request);
    Reply write(Request& request);
    Reply make(Request& request);
    Reply remove_node(Request& request);
    Reply get_permissions(Request& request);
    Reply set_permissions(Request& request);
    Reply watch(Request& request);
    Reply unwatch(Request& request);
    Reply start_transaction(Request& request);
    Reply end_transaction(Request& request);
    Reply introduce(Request& request);
    Reply domain_operation(Request& request);
    Reply set_target(Request& request);
    Reply control(Request& request);

    Result<std::string> absolute_path(const Connection& connection, std::string_view path) const;
    Result<std::string> only_path(const Request& request) const;
    Result<const Node*> look(Request& request, std::string_view path);
    void notify(const std::vector<Change>& changes);
    void notify_one(Connection& connection, const Watch& watch, const Change& change);

    DomainService& domains_;
    Limits limits_;
    Tree tree_;
    std::set<Connection*> connections_;
    Connection* kernel_{nullptr};
    std::size_t work_{0};
    std::uint32_t next_transaction_{1};
    bool new_watch_pending_{false}; ///< the reply to come is followed by the first event
};

} // namespace cero::store
