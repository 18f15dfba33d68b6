// SPDX-License-Identifier: BSD-2-Clause
// Life of a domain: created whole or not at all, found by name, shut down, destroyed without a
// rest.
#pragma once

#include "config/domain_config.hpp"
#include "control/domain_control.hpp"
#include "control/store_client.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace cero::toolstack {

/// The two connections that every operation needs.
struct Machine {
    control::DomainControl& control;
    control::StoreClient& store;
};

/// Throws Error (not_found) unless `name` is the name or the number of a domain.
[[nodiscard]] cero_domid find_domain(Machine& machine, std::string_view name);
/// The name of a domain, or "(null)" as xl prints it when it has none.
[[nodiscard]] std::string name_of(control::StoreClient& store, cero_domid domain);

struct CreateOptions {
    bool start_paused{false};
    bool check_only{false}; ///< -n: everything that can be checked, and nothing else
    int device_timeout_ms{10000};
    std::string mounts{}; ///< text of /proc/mounts
};

/// Creates and starts a domain; returns its number (0 with check_only). Throws Error, and then
/// nothing of the domain is left.
cero_domid create_domain(Machine& machine, config::DomainConfig config,
                         const CreateOptions& options);

/// Destroys a domain and removes everything that belongs to it. `timeout_ms` bounds the wait for
/// backends and for the last frames. Throws Error when it is still dying after that.
void destroy_domain(Machine& machine, cero_domid domain, int timeout_ms);
/// Removes devices, nodes and files of a domain. With `last_name` the domain goes by this name from
/// one moment to the next, and has no other node: it is still there to be seen.
void clean_up_after(Machine& machine, cero_domid domain, int timeout_ms,
                    const std::string& last_name = {});

/// Asks the guest by control/shutdown: "poweroff", "reboot". Throws Error when it cannot be asked.
void request_shutdown(Machine& machine, cero_domid domain, const std::string& kind);

/// A domain may have so much more than its target: what kernels count is not exact.
constexpr std::uint64_t memory_slack_kib = 1024;

/// The configuration that a domain was created from, if it is known.
[[nodiscard]] std::optional<config::DomainConfig> saved_config(cero_domid domain);
void rename_domain(Machine& machine, cero_domid domain, const std::string& name);

/// A free address in the range that belongs to Xen's guests, the same for the same domain and card.
[[nodiscard]] config::MacAddress make_mac(const config::Uuid& uuid, unsigned index) noexcept;

} // namespace cero::toolstack
