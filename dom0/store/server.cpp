// SPDX-License-Identifier: BSD-2-Clause
// The XenStore process: one loop over sockets and event channels.
#include "store/server.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <cero/abi/event.h>
#include <cero/abi/grant.h>

#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cero::store {

Server::Server(ServerOptions options)
    : options_{std::move(options)}, core_{*this, options_.limits} {
    make_directories(options_.socket.substr(0, options_.socket.rfind('/')));
    seed_tree();
    if (options_.with_hypervisor) {
        events_ = std::make_unique<control::EventChannels>();
        privcmd_ = std::make_unique<control::Privcmd>();
        auto kernel = control::open_kernel_store_ring();
        auto domain = std::make_unique<Domain>(0);
        const int port = events_->bind_interdomain(0, kernel.port);
        if (port < 0)
            fail("cannot bind the event channel {} of the kernel's XenStore ring: {}", kernel.port,
                 errno_text(-port));
        domain->port = static_cast<cero_evtchn_port>(port);
        domain->remote_port = kernel.port;
        domain->page = std::move(kernel.page);
        domain->ring = std::make_unique<RingTransport>(
            reinterpret_cast<cero_xenstore_page*>(domain->page.data()), domain->connection);
        core_.add(domain->connection);
        events_->notify(domain->port); // Linux takes the first event for the sign that we are here
        domains_.emplace(DomainNumber{0}, std::move(domain));
        const int death = events_->bind_virq(CERO_VIRQ_DOM_EXC);
        if (death < 0)
            log("VIRQ_DOM_EXC: {}; dying domains are noticed late", errno_text(-death));
        else
            death_port_ = static_cast<cero_evtchn_port>(death);
    }
    try {
        listener_ = listen_unix(options_.socket);
    } catch (const Error& error) {
        if (!options_.with_hypervisor)
            throw;
        log("{}; clients must use /dev/xen/xenbus", error.what());
    }
}

Server::~Server() = default;

void Server::seed_tree() {
    std::vector<Change> ignored;
    const Caller self{};
    const TreeLimits limits;
    for (const char* path : {"/tool", "/tool/xenstored", "/vm", "/libxl", "/local/domain/0"})
        (void)core_.tree().make(self, path, limits, ignored);
    (void)core_.tree().write(self, "/local/domain/0/domid", "0", limits, ignored);
    (void)core_.tree().write(self, "/local/domain/0/name", "Domain-0", limits, ignored);
}

Status Server::introduce(DomainNumber number, std::uint64_t frame, std::uint32_t port) {
    if (!events_)
        return Errno::nosys;
    if (number == 0)
        return Errno::inval;
    auto& slot = domains_[number];
    if (slot) {
        disconnect(*slot); // introduced again: the guest starts over with a new channel
        slot->connection.reset_state();
        slot->connection.reset_streams();
    } else {
        slot = std::make_unique<Domain>(number);
        core_.add(slot->connection);
    }
    Domain& domain = *slot;
    const auto undo = [&](Errno error) -> Status {
        log("domain {}: cannot connect its XenStore ring: {}", number,
            errno_text(static_cast<int>(error)));
        core_.remove(domain.connection);
        disconnect(domain);
        domains_.erase(number);
        return error;
    };
    domain.page = grants_.map(number, CERO_GNTTAB_RESERVED_XENSTORE);
    if (!domain.page)
        domain.page = privcmd_->map_foreign(number, std::span{&frame, 1}, true);
    if (!domain.page)
        return undo(Errno::inval);
    const int local = events_->bind_interdomain(number, port);
    if (local < 0)
        return undo(Errno::inval);
    domain.port = static_cast<cero_evtchn_port>(local);
    domain.remote_port = port;
    domain.is_shut_down = false;
    domain.ring = std::make_unique<RingTransport>(
        reinterpret_cast<cero_xenstore_page*>(domain.page.data()), domain.connection);
    more_to_pump_ = true;
    return {};
}

void Server::disconnect(Domain& domain) {
    if (domain.port != 0)
        events_->unbind(domain.port);
    domain.port = 0;
    domain.ring.reset();
    domain.page.reset();
}

Status Server::release(DomainNumber number) {
    const auto at = domains_.find(number);
    if (at == domains_.end() || number == 0)
        return Errno::noent;
    core_.remove(at->second->connection);
    disconnect(*at->second);
    domains_.erase(at);
    return {};
}

bool Server::is_introduced(DomainNumber domain) const {
    return domains_.contains(domain);
}

Status Server::resume(DomainNumber domain) {
    const auto at = domains_.find(domain);
    if (at == domains_.end())
        return Errno::noent;
    at->second->is_shut_down = false;
    return {};
}

Status Server::set_target(DomainNumber domain, DomainNumber target) {
    const auto at = domains_.find(domain);
    if (at == domains_.end() || !domains_.contains(target))
        return Errno::noent;
    at->second->connection.caller.target = target;
    return {};
}

void Server::check_domains() {
    bool announce = false;
    for (auto at = domains_.begin(); at != domains_.end();) {
        Domain& domain = *at->second;
        const DomainNumber number = at->first;
        ++at;
        if (number == 0)
            continue;
        std::optional<control::DomainInfo> info;
        try {
            info = control::domain_info(*privcmd_, number);
        } catch (const Error& error) {
            log("{}", error.what()); // not a reason to cut off every domain
            return;
        }
        const bool is_gone = !info || (info->flags & CERO_DOMINF_dying) != 0;
        if (is_gone) {
            (void)release(number);
            announce = true;
        } else if ((info->flags & CERO_DOMINF_shutdown) != 0 && !domain.is_shut_down) {
            domain.is_shut_down = true;
            announce = true;
        }
    }
    if (announce)
        core_.announce("@releaseDomain");
}

void Server::take_events() {
    for (const cero_evtchn_port port : events_->take_pending()) {
        if (port == death_port_) {
            events_->unmask(port); // before looking, so that no death in between is lost
            check_domains();
            // A domain that nobody introduced can die too, and somebody may wait for that.
            core_.announce("@releaseDomain");
            continue;
        }
        events_->unmask(port);
    }
}

void Server::pump_domain(Domain& domain) {
    if (!domain.ring)
        return;
    if (domain.ring->pump(core_))
        events_->notify(domain.port);
    more_to_pump_ = more_to_pump_ || domain.ring->wants_more();
    if (domain.connection.has_hit_quota && !domain.is_quota_reported) {
        domain.is_quota_reported = true; // once: a guest must not fill the log
        log("domain {}: its XenStore quota is used up: {} of {} nodes, {} of {} watches; its "
            "requests "
            "for more are refused. Restart the guest if it needs more.",
            domain.connection.caller.domain, core_.tree().nodes_of(domain.connection.caller.domain),
            core_.limits().tree.nodes_per_domain, domain.connection.watches.size(),
            core_.limits().watches);
    }
    if ((domain.ring->is_broken() || domain.connection.is_doomed()) &&
        !domain.is_complained_about) {
        domain.is_complained_about = true;
        log("domain {}: its XenStore ring holds nonsense; it is not served any more",
            domain.connection.caller.domain);
        domain.connection.doom();
        domain.connection.reset_state();
    }
}

void Server::read_client(Client& client) {
    char buffer[8192];
    while (!core_.is_congested(client.connection)) {
        const ssize_t n = ::recv(client.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n <= 0) {
            client.at_end = true;
            break;
        }
        client.connection.decoder.feed({buffer, static_cast<std::size_t>(n)});
        core_.serve(client.connection);
        if (static_cast<std::size_t>(n) < sizeof buffer)
            break;
    }
}

void Server::write_client(Client& client) {
    while (client.connection.has_output() && !client.at_end) {
        const std::string_view output = client.connection.output();
        const ssize_t n =
            ::send(client.fd.get(), output.data(), output.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                client.at_end = true;
            return;
        }
        client.connection.consume_output(static_cast<std::size_t>(n));
    }
}

void Server::accept_clients() {
    for (;;) {
        Fd socket{::accept(listener_.get(), nullptr, nullptr)};
        if (!socket)
            return;
        set_nonblocking(socket.get());
        Client& client = clients_.emplace_back(std::move(socket));
        core_.add(client.connection);
    }
}

void Server::pump_all() {
    // Serving one connection queues events for others, so write everything at the end of the round.
    more_to_pump_ = false;
    for (Client& client : clients_)
        core_.serve(client.connection);
    // A request of one domain can introduce or release another, which changes the map.
    std::vector<DomainNumber> numbers;
    for (const auto& [number, domain] : domains_)
        numbers.push_back(number);
    for (const DomainNumber number : numbers)
        if (const auto at = domains_.find(number); at != domains_.end())
            pump_domain(*at->second);
    for (auto at = clients_.begin(); at != clients_.end();) {
        write_client(*at);
        if (at->at_end || at->connection.is_doomed()) {
            core_.remove(at->connection);
            at = clients_.erase(at);
        } else {
            ++at;
        }
    }
    // Events that the rings above queued for rings before them in the order.
    for (const DomainNumber number : numbers)
        if (const auto at = domains_.find(number);
            at != domains_.end() && at->second->ring && at->second->connection.has_output())
            pump_domain(*at->second);
}

void Server::run() {
    std::vector<pollfd> waits;
    constexpr int idle_check_ms = 5000;
    for (;;) {
        pump_all();
        waits.clear();
        waits.push_back({listener_.get(), POLLIN, 0});
        if (events_)
            waits.push_back({events_->fd(), POLLIN, 0});
        const std::size_t first_client = waits.size();
        for (const Client& client : clients_) {
            short wanted = core_.is_congested(client.connection) ? 0 : POLLIN;
            if (client.connection.has_output())
                wanted |= POLLOUT;
            waits.push_back({client.fd.get(), wanted, 0});
        }
        const int timeout = more_to_pump_ ? 0 : (death_port_ == 0 && events_ ? idle_check_ms : -1);
        const int ready = ::poll(waits.data(), waits.size(), timeout);
        if (ready < 0 && errno != EINTR)
            fail("poll: {}", errno_text(errno));
        if (ready <= 0) {
            if (events_ && death_port_ == 0)
                check_domains();
            continue;
        }
        std::size_t index = first_client;
        for (Client& client : clients_) {
            if ((waits[index].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
                read_client(client);
            ++index;
        }
        if (events_ && (waits[1].revents & POLLIN) != 0)
            take_events();
        if ((waits[0].revents & POLLIN) != 0)
            accept_clients();
    }
}

int server_main(int argc, char** argv) {
    set_log_name("cero-store");
    ServerOptions options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--socket" && i + 1 < argc) {
            options.socket = argv[++i];
        } else if (argument == "--no-hypervisor") {
            options.with_hypervisor = false;
        } else {
            fmt::print(stderr, "usage: cero-store [--socket PATH] [--no-hypervisor]\n");
            return static_cast<int>(argument == "--help" ? ExitCode::ok : ExitCode::usage);
        }
    }
    ::signal(SIGPIPE, SIG_IGN);
    Server server{std::move(options)};
    log("ready");
    server.run();
}

} // namespace cero::store
