// SPDX-License-Identifier: BSD-2-Clause
// The console service's loop: rings, log files, clients.
#include "console/service.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/number.hpp"
#include "toolstack/paths.hpp"

#include <cero/abi/grant.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cero::console {

namespace {

constexpr std::size_t input_max = 4096;
constexpr std::size_t request_max = 256;

} // namespace

Service::Service(const std::string& socket_path) : store_{control::StoreClient::open()} {
    make_directories(socket_path.substr(0, socket_path.rfind('/')));
    make_directories(toolstack::console_log_directory);
    try {
        listener_ = listen_unix(socket_path);
    } catch (const Error& error) {
        log("{}; consoles are only kept in {}", error.what(), toolstack::console_log_directory);
    }
    store_.watch("@introduceDomain", "domains");
    store_.watch("@releaseDomain", "domains");
    rescan();
}

void Service::rescan() {
    std::set<cero_domid> alive;
    for (const std::string& text :
         store_.list("/local/domain").value_or(std::vector<std::string>{})) {
        const auto domain = number_of<cero_domid>(text);
        if (!domain || *domain == 0)
            continue;
        const auto info = control::domain_info(privcmd_, *domain);
        if (!info || (info->flags & CERO_DOMINF_dying) != 0)
            continue;
        if (guests_.contains(*domain) || connect(*domain))
            alive.insert(*domain);
    }
    for (auto at = guests_.begin(); at != guests_.end();) {
        Guest& guest = *at->second;
        if (alive.contains(at->first)) {
            ++at;
            continue;
        }
        disconnect(guest);
        at = guests_.erase(at);
    }
}

bool Service::connect(cero_domid domain) {
    const std::string path = toolstack::domain_path(domain);
    const auto port = number_of<cero_evtchn_port>(store_.read(path + "/console/port").value_or(""));
    const auto frame = number_of<cero_frame>(store_.read(path + "/console/ring-ref").value_or(""));
    if (!port)
        return false;
    auto guest = std::make_unique<Guest>();
    guest->domain = domain;
    guest->name = store_.read(path + "/name").value_or(std::to_string(domain));
    guest->page = grants_.map(domain, CERO_GNTTAB_RESERVED_CONSOLE);
    if (!guest->page && frame)
        guest->page = privcmd_.map_foreign(domain, std::span{&*frame, 1}, true);
    if (!guest->page) {
        log("domain {}: cannot map its console: {}", domain, errno_text(errno));
        return false;
    }
    const int local = events_.bind_interdomain(domain, *port);
    if (local < 0) {
        log("domain {}: cannot bind its console's event channel {}: {}", domain, *port,
            errno_text(-local));
        return false;
    }
    guest->port = static_cast<cero_evtchn_port>(local);
    guest->ring =
        std::make_unique<ConsoleRing>(reinterpret_cast<cero_console_page*>(guest->page.data()));
    open_log(*guest);
    drain(*guest);
    guests_[domain] = std::move(guest);
    return true;
}

void Service::disconnect(Guest& guest) {
    drain(guest); // its last words
    events_.unbind(guest.port);
    for (Client& client : clients_)
        if (client.guest == &guest) {
            client.guest = nullptr;
            client.is_leaving = true;
        }
}

void Service::open_log(Guest& guest) {
    // The name comes from XenStore; only dom0 can write it, but a path it must not become.
    std::string name = guest.name;
    std::ranges::replace(name, '/', '_');
    const std::string path = fmt::format("{}/{}.log", toolstack::console_log_directory, name);
    guest.log = Fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    struct stat status {};
    if (guest.log && ::fstat(guest.log.get(), &status) == 0)
        guest.log_size = static_cast<std::size_t>(status.st_size);
}

void Service::write_log(Guest& guest, std::string_view bytes) {
    if (!guest.log)
        return;
    if (guest.log_size + bytes.size() > log_bytes) {
        std::string name = guest.name;
        std::ranges::replace(name, '/', '_');
        const std::string path = fmt::format("{}/{}.log", toolstack::console_log_directory, name);
        (void)::rename(path.c_str(), (path + ".0").c_str());
        guest.log_size = 0;
        open_log(guest);
    }
    if (write_all(guest.log.get(), bytes))
        guest.log_size += bytes.size();
}

void Service::drain(Guest& guest) {
    std::string bytes;
    bool notify = guest.ring->take_output(bytes);
    if (!guest.input.empty()) {
        const std::size_t taken = guest.ring->give_input(guest.input);
        guest.input.erase(0, taken);
        notify = notify || taken != 0;
    }
    if (notify)
        events_.notify(guest.port);
    if (bytes.empty())
        return;
    guest.history.append(bytes);
    write_log(guest, bytes);
    for (Client& client : clients_) {
        if (client.guest != &guest)
            continue;
        client.output += bytes;
        if (client.output.size() > client_bytes) {
            client.output.erase(0, client.output.size() - client_bytes / 2);
            client.output.insert(0, "\r\n[cero: output was lost, this reader is too slow]\r\n");
        }
    }
}

Service::Guest* Service::find(const std::string& name) {
    if (const auto number = number_of<cero_domid>(name))
        if (const auto at = guests_.find(*number); at != guests_.end())
            return at->second.get();
    // A domain that was renamed has given its name away; one whose nodes are gone keeps it.
    Guest* nameless = nullptr;
    for (const auto& [domain, guest] : guests_) {
        const auto current = store_.read(toolstack::domain_path(domain) + "/name");
        if (current == name)
            return guest.get();
        if (!current && guest->name == name)
            nameless = guest.get();
    }
    return nameless;
}

void Service::take_request(Client& client) {
    const std::size_t end = client.request.find('\n');
    if (end == std::string::npos) {
        client.is_gone = client.is_gone || client.request.size() > request_max;
        return;
    }
    const std::string line = client.request.substr(0, end);
    std::string typed = client.request.substr(end + 1);
    client.request.clear();
    const std::size_t first = line.find(' ');
    const std::size_t second = line.find(' ', first + 1);
    const std::string verb = line.substr(0, first);
    const std::string name =
        first == std::string::npos ? "" : line.substr(first + 1, second - first - 1);
    rescan(); // a domain of a moment ago
    Guest* guest = find(name);
    if (guest == nullptr) {
        client.output = fmt::format("error no domain \"{}\" has a console\n", name);
        client.is_leaving = true;
        return;
    }
    client.output = "ok\n";
    if (verb == "save") {
        drain(*guest);
        client.is_leaving = true;
        return;
    }
    if (verb == "history") {
        client.output += guest->history.last(history_bytes);
        client.is_leaving = true;
        return;
    }
    const auto replay = second == std::string::npos
                            ? std::nullopt
                            : number_of<std::size_t>(line.substr(second + 1));
    client.output += guest->history.last(replay.value_or(0));
    client.guest = guest;
    guest->input += typed;
    drain(*guest);
}

void Service::read_client(Client& client) {
    char buffer[1024];
    const ssize_t n = ::recv(client.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        client.is_gone = true;
        return;
    }
    if (client.guest != nullptr) {
        client.guest->input.append(buffer, static_cast<std::size_t>(n));
        drain(*client.guest);
    } else if (!client.is_leaving) {
        client.request.append(buffer, static_cast<std::size_t>(n));
        take_request(client);
    }
}

void Service::write_client(Client& client) {
    while (!client.output.empty() && !client.is_gone) {
        const ssize_t n = ::send(client.fd.get(), client.output.data(), client.output.size(),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            client.is_gone = errno != EAGAIN && errno != EWOULDBLOCK;
            return;
        }
        client.output.erase(0, static_cast<std::size_t>(n));
    }
    if (client.is_leaving)
        client.is_gone = true;
}

void Service::accept_clients() {
    for (;;) {
        Fd socket{::accept(listener_.get(), nullptr, nullptr)};
        if (!socket)
            return;
        set_nonblocking(socket.get());
        clients_.emplace_back(std::move(socket));
    }
}

void Service::run() {
    std::vector<pollfd> waits;
    for (;;) {
        bool domains_changed = false;
        while (store_.pending())
            domains_changed = true;
        if (domains_changed)
            rescan();
        for (Client& client : clients_)
            write_client(client);
        clients_.remove_if([](const Client& client) { return client.is_gone; });
        waits.clear();
        waits.push_back({listener_.get(), POLLIN, 0});
        waits.push_back({events_.fd(), POLLIN, 0});
        waits.push_back({store_.fd(), POLLIN, 0});
        const std::size_t first_client = waits.size();
        for (const Client& client : clients_) {
            const bool is_full = client.guest != nullptr && client.guest->input.size() >= input_max;
            waits.push_back(
                {client.fd.get(),
                 static_cast<short>((is_full ? 0 : POLLIN) | (client.output.empty() ? 0 : POLLOUT)),
                 0});
        }
        if (::poll(waits.data(), waits.size(), -1) < 0) {
            if (errno == EINTR)
                continue;
            fail("poll: {}", errno_text(errno));
        }
        std::size_t index = first_client;
        for (Client& client : clients_) {
            if ((waits[index].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
                read_client(client);
            ++index;
        }
        if ((waits[1].revents & POLLIN) != 0)
            for (const cero_evtchn_port port : events_.take_pending()) {
                events_.unmask(port); // before looking at the ring: a later byte fires again
                for (const auto& [domain, guest] : guests_)
                    if (guest->port == port)
                        drain(*guest);
            }
        if ((waits[2].revents & (POLLIN | POLLHUP)) != 0 && store_.wait(0))
            rescan();
        if ((waits[0].revents & POLLIN) != 0)
            accept_clients();
    }
}

int service_main(int argc, char** argv) {
    set_log_name("cero-consoled");
    std::string path = toolstack::console_socket;
    if (argc == 3 && std::string_view{argv[1]} == "--socket") {
        path = argv[2];
    } else if (argc != 1) {
        fmt::print(stderr, "usage: cero-consoled [--socket PATH]\n");
        return static_cast<int>(ExitCode::usage);
    }
    ::signal(SIGPIPE, SIG_IGN);
    Service service{path};
    log("ready");
    service.run();
}

} // namespace cero::console
