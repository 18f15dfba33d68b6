// SPDX-License-Identifier: BSD-2-Clause
// XenStore's requests about domains, and its administration.
#include "store/core.hpp"

#include "base/number.hpp"

namespace cero::store {

void Core::forget_domain(DomainNumber domain) {
    for (Connection* connection : connections_)
        if (connection->caller.target == domain)
            connection->caller.target = no_domain;
    std::vector<Change> changes;
    tree_.forget_domain(domain, changes);
    if (on_change && !changes.empty())
        on_change(changes);
}

Core::Reply Core::introduce(Request& request) {
    if (!request.connection.caller.is_privileged())
        return Errno::acces;
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() < 3)
        return Errno::inval;
    const auto domain = parse_domain((*strings)[0]);
    const auto frame = number_of<std::uint64_t>((*strings)[1]);
    const auto port = number_of<std::uint32_t>((*strings)[2]);
    if (!domain || !frame || !port || *port == 0)
        return Errno::inval;
    TRY(domains_.introduce(*domain, *frame, *port));
    return ok();
}

Core::Reply Core::domain_operation(Request& request) {
    const auto domain = parse_domain(TRY(only_string(request.message.payload)));
    const auto op = static_cast<Op>(request.message.type);
    if (!domain)
        return Errno::inval;
    if (op == Op::get_domain_path) {
        std::string path = home_of(*domain);
        path += '\0';
        return path;
    }
    if (!request.connection.caller.is_privileged())
        return Errno::acces;
    if (op == Op::is_domain_introduced)
        return domains_.is_introduced(*domain) ? std::string{"T\0", 2} : std::string{"F\0", 2};
    if (op == Op::release)
        TRY(domains_.release(*domain));
    else
        TRY(domains_.resume(*domain));
    return ok();
}

Core::Reply Core::set_target(Request& request) {
    if (!request.connection.caller.is_privileged())
        return Errno::acces;
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->size() != 2)
        return Errno::inval;
    const auto domain = parse_domain((*strings)[0]);
    const auto target = parse_domain((*strings)[1]);
    if (!domain || !target)
        return Errno::inval;
    TRY(domains_.set_target(*domain, *target));
    return ok();
}

Core::Reply Core::control(Request& request) {
    if (!request.connection.caller.is_privileged())
        return Errno::acces;
    const auto strings = strings_of(request.message.payload);
    if (!strings || strings->empty())
        return Errno::inval;
    const std::string_view command = strings->front();
    std::string reply;
    if (command == "help") {
        reply = "help\ncheck\nquota\nstatus\nusage\n";
    } else if (command == "check") {
        // Count again what the tree believes that it counts.
        std::map<DomainNumber, std::size_t> counted;
        walk(tree_.root(), "/",
             [&](const std::string&, const Node& node) { ++counted[node.permissions.owner()]; });
        for (const auto& [domain, nodes] : counted)
            if (tree_.nodes_of(domain) != nodes)
                return Errno::io;
        reply = "consistent\n";
    } else if (command == "quota") {
        reply = "nodes " + std::to_string(limits_.tree.nodes_per_domain) + "\nwatches " +
                std::to_string(limits_.watches) + "\ntransactions " +
                std::to_string(limits_.transactions) + "\noutstanding " +
                std::to_string(limits_.outstanding) + "\nvalue-size " +
                std::to_string(limits_.tree.value_size) + "\n";
    } else if (command == "usage") { // one line per client: domain, nodes, watches, transactions
        for (const Connection* connection : connections_) {
            if (connection->caller.is_privileged())
                continue;
            reply += std::to_string(connection->caller.domain) + " " +
                     std::to_string(tree_.nodes_of(connection->caller.domain)) + " " +
                     std::to_string(connection->watches.size()) + " " +
                     std::to_string(connection->transactions.size()) + "\n";
        }
    } else if (command == "status") {
        std::size_t watches = 0;
        std::size_t transactions = 0;
        std::size_t nodes = 0;
        for (const Connection* connection : connections_) {
            watches += connection->watches.size();
            transactions += connection->transactions.size();
        }
        walk(tree_.root(), "/", [&](const std::string&, const Node&) { ++nodes; });
        reply = "connections " + std::to_string(connections_.size()) + "\nnodes " +
                std::to_string(nodes) + "\nwatches " + std::to_string(watches) + "\ntransactions " +
                std::to_string(transactions) + "\n";
    } else {
        return Errno::nosys;
    }
    reply += '\0';
    return reply;
}

} // namespace cero::store
