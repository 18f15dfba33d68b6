// SPDX-License-Identifier: BSD-2-Clause
// Server: the XenStore process: Unix clients, the kernel's ring, domains' rings, and dying domains.
#pragma once

#include "control/domain_control.hpp"
#include "control/kernel_devices.hpp"
#include "store/core.hpp"
#include "store/journal.hpp"
#include "store/ring.hpp"

#include <list>
#include <map>
#include <memory>

namespace cero::store {

struct ServerOptions {
    std::string socket{"/run/xenstored/socket"};
    std::string journal{"/run/xenstored/journal"};
    Limits limits;
    bool with_hypervisor{true}; ///< false: Unix clients only, for tests on a development machine
};

class Server final : public DomainService {
public:
    explicit Server(ServerOptions options);
    ~Server() override;
    [[noreturn]] void run();

    Status introduce(DomainNumber domain, std::uint64_t frame, std::uint32_t port) override;
    Status release(DomainNumber domain) override;
    [[nodiscard]] bool is_introduced(DomainNumber domain) const override;
    Status resume(DomainNumber domain) override;
    Status set_target(DomainNumber domain, DomainNumber target) override;

private:
    /// A domain with a ring. The kernel's own client is domain 0.
    struct Domain {
        explicit Domain(DomainNumber number) : connection{number} {}
        void attach(const SavedClient* saved);

        Connection connection;
        control::Mapping page;
        std::unique_ptr<RingTransport> ring;
        cero_evtchn_port port{};
        cero_evtchn_port remote_port{};
        std::uint64_t frame{};
        /// What the journal knows: revisions and requests taken; nothing yet when empty.
        struct Known {
            std::uint64_t revision{}, watch_revision{};
            std::uint32_t consumed{};
            DomainNumber target{};
            bool is_shut_down{};
            bool operator==(const Known&) const = default;
        };
        std::optional<Known> known;
        bool is_shut_down{false};
        bool is_complained_about{false};
        bool is_quota_reported{false};
    };
    struct Client {
        explicit Client(Fd socket) : fd{std::move(socket)}, connection{0} {}
        Fd fd;
        Connection connection;
        bool at_end{false};
    };
    void connect_kernel(const SavedClient* saved);
    Status connect(Domain& domain, std::uint64_t frame, std::uint32_t port,
                   const SavedClient* saved);
    void disconnect(Domain& domain);
    void drop(DomainNumber number);
    void open_journal();
    void restore(DomainNumber number, const SavedClient& saved);
    void save();
    void save(Domain& domain);
    void pump_all();
    bool pump_rings();
    void report(Domain& domain);
    void read_client(Client& client);
    void write_client(Client& client);
    void accept_clients();
    void take_events();
    void check_domains();
    void seed_tree();

    ServerOptions options_;
    Core core_;
    Fd listener_;
    std::list<Client> clients_;
    std::map<DomainNumber, std::unique_ptr<Domain>> domains_;
    Journal journal_;
    bool has_journal_{false};
    std::unique_ptr<control::EventChannels> events_;
    std::unique_ptr<control::Privcmd> privcmd_;
    control::GrantMapper grants_;
    cero_evtchn_port death_port_{};
    bool more_to_pump_{false};
    DomainNumber last_served_{0}; ///< the guest whose requests were taken last
};

/// Program entry of `cero-store`.
int server_main(int argc, char** argv);

} // namespace cero::store
