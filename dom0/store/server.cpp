// SPDX-License-Identifier: BSD-2-Clause
// The XenStore process: one loop over sockets and event channels.
#include "store/server.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <cero/abi/event.h>
#include <cero/abi/grant.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cero::store {

Server::Server(ServerOptions options)
    : options_{std::move(options)}, core_{*this, options_.limits}, journal_{options_.journal} {
    make_directories(options_.socket.substr(0, options_.socket.rfind('/')));
    seed_tree();
    if (options_.with_hypervisor) {
        events_ = std::make_unique<control::EventChannels>();
        privcmd_ = std::make_unique<control::Privcmd>();
        const int death = events_->bind_virq(CERO_VIRQ_DOM_EXC);
        if (death < 0)
            log("VIRQ_DOM_EXC: {}; dying domains are noticed late", errno_text(-death));
        else
            death_port_ = static_cast<cero_evtchn_port>(death);
        open_journal();
    }
    try {
        listener_ = listen_unix(options_.socket);
    } catch (const Error& error) {
        if (!options_.with_hypervisor)
            throw;
        log("{}; clients must use /dev/xen/xenbus", error.what());
    }
}

void Server::connect_kernel(const SavedClient* saved) {
    auto kernel = control::open_kernel_store_ring();
    auto domain = std::make_unique<Domain>(0);
    const int port = events_->bind_interdomain(0, kernel.port);
    if (port < 0)
        fail("cannot bind the event channel {} of the kernel's XenStore ring: {}", kernel.port,
             errno_text(-port));
    domain->port = static_cast<cero_evtchn_port>(port);
    domain->remote_port = kernel.port;
    domain->page = std::move(kernel.page);
    domain->connection.is_kernel = true;
    domain->attach(saved);
    core_.add(domain->connection);
    events_->notify(domain->port); // Linux takes the first event for the sign that we are here
    domains_.emplace(DomainNumber{0}, std::move(domain));
}

/// The ring, from its start or from where an earlier process stopped. Its own output counts what
/// has gone into the ring since `saved`, so that nothing is sent twice.
void Server::Domain::attach(const SavedClient* saved) {
    known.reset();
    auto* const shared = reinterpret_cast<cero_xenstore_page*>(page.data());
    if (saved == nullptr) {
        ring = std::make_unique<RingTransport>(shared, connection);
        return;
    }
    ring = std::make_unique<RingTransport>(shared, connection, saved->consumed);
    const std::uint32_t sent = ring->produced() - saved->produced;
    connection.decoder.feed(saved->input);
    connection.restore_output(
        saved->output.substr(std::min<std::size_t>(sent, saved->output.size())));
    connection.caller.target = saved->target;
    is_shut_down = saved->is_shut_down;
    for (const SavedWatch& watch : saved->watches)
        connection.watches.push_back(
            {watch.path, watch.token, watch.prefix,
             watch.depth_plus_one == 0 ? std::nullopt : std::optional{watch.depth_plus_one - 1}});
}

void Server::open_journal() {
    const auto clients = journal_.load(core_.tree());
    has_journal_ = true;
    if (!journal_.is_whole())
        log("the end of the journal was not written; nobody has seen its effects");
    const auto kernel = clients.find(0);
    connect_kernel(kernel == clients.end() ? nullptr : &kernel->second);
    core_.on_change = [this](const std::vector<Change>& changes) {
        journal_.note(core_.tree(), changes);
    };
    for (const auto& [number, saved] : clients)
        restore(number, saved);
    save();
    if (clients.empty())
        return;
    log("going on where an earlier process stopped: {} domains", domains_.size() - 1);
    check_domains(); // who has died meanwhile
    core_.announce("@releaseDomain");
    more_to_pump_ = true;
}

void Server::restore(DomainNumber number, const SavedClient& saved) {
    if (number != 0) {
        auto& slot = domains_[number] = std::make_unique<Domain>(number);
        core_.add(slot->connection);
        if (!connect(*slot, saved.frame, saved.port, &saved)) {
            log("domain {}: cannot connect its XenStore ring again", number);
            (void)release(number);
            return;
        }
        events_->notify(slot->port); // its event may have come while nobody listened
    }
    for (const std::uint32_t id : saved.transactions) {
        auto lost = std::make_unique<Transaction>(core_.tree());
        lost->lose();
        domains_[number]->connection.transactions.emplace(id, std::move(lost));
    }
}

/// Before anybody sees what has been done: the journal knows it.
void Server::save() {
    if (!has_journal_)
        return;
    for (const auto& [number, domain] : domains_)
        if (domain->ring)
            save(*domain);
    try {
        journal_.flush(core_.tree());
    } catch (const Error& error) {
        log("{}; if this process dies, guests lose XenStore", error.what());
        has_journal_ = false;
        core_.on_change = nullptr;
        (void)::unlink(options_.journal.c_str()); // an old state would be worse than none
    }
}

void Server::save(Domain& domain) {
    const Connection& from = domain.connection;
    const Domain::Known now{from.revision, from.watch_revision, domain.ring->consumed(),
                            from.caller.target, domain.is_shut_down};
    if (domain.known == now)
        return;
    SavedClient client;
    client.frame = domain.frame;
    client.port = domain.remote_port;
    client.consumed = domain.ring->consumed();
    client.produced = domain.ring->produced();
    client.target = from.caller.target;
    client.is_shut_down = domain.is_shut_down;
    client.input = from.decoder.rest();
    client.output = from.all_output();
    for (const auto& [id, transaction] : from.transactions)
        client.transactions.push_back(id);
    const bool with_watches = !domain.known || domain.known->watch_revision != from.watch_revision;
    if (with_watches)
        for (const Watch& watch : from.watches)
            client.watches.push_back(
                {watch.path, watch.token, watch.prefix, watch.depth ? *watch.depth + 1 : 0});
    journal_.note(from.caller.domain, std::move(client), with_watches);
    domain.known = now;
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
    if (const Status connected = connect(*slot, frame, port, nullptr); !connected) {
        log("domain {}: cannot connect its XenStore ring: {}", number,
            errno_text(static_cast<int>(connected.error())));
        drop(number); // it may live: its nodes stay its own
        return connected.error();
    }
    more_to_pump_ = true;
    return {};
}

Status Server::connect(Domain& domain, std::uint64_t frame, std::uint32_t port,
                       const SavedClient* saved) {
    const DomainNumber number = domain.connection.caller.domain;
    domain.page = grants_.map(number, CERO_GNTTAB_RESERVED_XENSTORE);
    if (!domain.page)
        domain.page = privcmd_->map_foreign(number, std::span{&frame, 1}, true);
    if (!domain.page)
        return Errno::inval;
    const int local = events_->bind_interdomain(number, port);
    if (local < 0)
        return Errno::inval;
    domain.port = static_cast<cero_evtchn_port>(local);
    domain.remote_port = port;
    domain.frame = frame;
    domain.is_shut_down = false;
    domain.attach(saved);
    return {};
}

void Server::disconnect(Domain& domain) {
    if (domain.port != 0)
        events_->unbind(domain.port);
    domain.port = 0;
    domain.ring.reset();
    domain.page.reset();
}

void Server::drop(DomainNumber number) {
    const auto at = domains_.find(number);
    core_.remove(at->second->connection);
    disconnect(*at->second);
    domains_.erase(at);
    if (has_journal_)
        journal_.note_release(number);
}

Status Server::release(DomainNumber number) {
    if (!domains_.contains(number) || number == 0)
        return Errno::noent;
    drop(number);
    core_.forget_domain(number);
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

void Server::report(Domain& domain) {
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

/// One round: requests of all rings, then the journal, then what they see of it. Returns whether
/// there was anything to do.
bool Server::pump_rings() {
    // A request of one domain can introduce or release another, which changes the map.
    std::vector<DomainNumber> numbers;
    for (const auto& [number, domain] : domains_)
        numbers.push_back(number);
    // One guest's events can make the others wait for dom0's kernel: the next one is first then.
    const auto first_guest = std::upper_bound(numbers.begin(), numbers.end(), DomainNumber{0});
    std::rotate(first_guest, std::upper_bound(first_guest, numbers.end(), last_served_),
                numbers.end());
    bool progress = false;
    for (const DomainNumber number : numbers)
        if (const auto at = domains_.find(number);
            at != domains_.end() && at->second->ring && at->second->ring->take_requests(core_)) {
            progress = true;
            last_served_ = number == 0 ? last_served_ : number;
        }
    save();
    for (const auto& [number, domain] : domains_) {
        if (!domain->ring)
            continue;
        if (domain->ring->publish()) {
            events_->notify(domain->port);
            progress = true;
        }
        report(*domain);
    }
    return progress;
}

void Server::pump_all() {
    // Serving one connection queues events for others, so write everything at the end of the round.
    for (Client& client : clients_)
        core_.serve(client.connection);
    constexpr int rounds_max = 16; // then the sockets have their turn
    constexpr std::size_t work_max = 100'000;
    bool progress = true;
    (void)core_.take_work(); // of the sockets
    std::size_t work = 0;
    for (int round = 0; progress && round < rounds_max && work < work_max; ++round) {
        progress = pump_rings();
        work += core_.take_work();
    }
    more_to_pump_ = progress;
    for (auto at = clients_.begin(); at != clients_.end();) {
        write_client(*at);
        if (at->at_end || at->connection.is_doomed()) {
            core_.remove(at->connection);
            at = clients_.erase(at);
        } else {
            ++at;
        }
    }
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
