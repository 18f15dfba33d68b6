// SPDX-License-Identifier: BSD-2-Clause
// A request to the console service on behalf of a domain that is about to go.
#include "toolstack/console_log.hpp"

#include "base/file.hpp"
#include "toolstack/paths.hpp"

#include <poll.h>
#include <string>
#include <sys/socket.h>

namespace cero::toolstack {

namespace {

constexpr int patience_ms = 5000;

} // namespace

void save_console(cero_domid domain) noexcept {
    const Fd service = connect_unix(console_socket);
    if (!service)
        return;
    const std::string request = "save " + std::to_string(domain) + "\n";
    if (::send(service.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0)
        return;
    // Any answer will do: a domain without a console is none of the caller's business.
    pollfd answer{service.get(), POLLIN, 0};
    (void)::poll(&answer, 1, patience_ms);
}

} // namespace cero::toolstack
