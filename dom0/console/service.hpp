// SPDX-License-Identifier: BSD-2-Clause
// The console service: one process that drains every guest's console and serves those who look on.
#pragma once

#include "console/ring.hpp"
#include "control/domain_control.hpp"
#include "control/kernel_devices.hpp"
#include "control/store_client.hpp"

#include <list>
#include <map>
#include <memory>
#include <string>

namespace cero::console {

/// Bounds of what is kept.
inline constexpr std::size_t history_bytes = 64 << 10;
inline constexpr std::size_t log_bytes = 256 << 10;    ///< per file; one older file is kept
inline constexpr std::size_t client_bytes = 256 << 10; ///< unread output of one client

/// A request is one line: "attach DOMAIN REPLAY" (number or name; bytes of history to see first),
/// "history DOMAIN", or "save DOMAIN" (answered when all that it has written is in its log). The
/// answer is "ok" or "error TEXT", then raw bytes in both directions.
class Service {
public:
    explicit Service(const std::string& socket_path);
    [[noreturn]] void run();

private:
    struct Guest {
        cero_domid domain{};
        std::string name;
        control::Mapping page;
        std::unique_ptr<ConsoleRing> ring;
        cero_evtchn_port port{};
        History history{history_bytes};
        std::string input; ///< typed, not yet taken by the guest
        Fd log;
        std::size_t log_size{};
    };
    struct Client {
        explicit Client(Fd socket) : fd{std::move(socket)} {}
        Fd fd;
        std::string request; ///< until its line is complete
        std::string output;
        Guest* guest{};
        bool is_leaving{false}; ///< gets its output, then the end
        bool is_gone{false};
    };
    void rescan();
    bool connect(cero_domid domain);
    void disconnect(Guest& guest);
    void drain(Guest& guest);
    void write_log(Guest& guest, std::string_view bytes);
    void open_log(Guest& guest);
    void read_client(Client& client);
    void take_request(Client& client);
    void write_client(Client& client);
    void accept_clients();
    Guest* find(const std::string& name);

    Fd listener_;
    control::EventChannels events_;
    control::Privcmd privcmd_;
    control::GrantMapper grants_;
    control::StoreClient store_;
    std::map<cero_domid, std::unique_ptr<Guest>> guests_;
    std::list<Client> clients_;
};

/// Program entry of `cero-consoled`.
int service_main(int argc, char** argv);

} // namespace cero::console
