// SPDX-License-Identifier: BSD-2-Clause
// Split devices in XenStore: creating, waiting for, listing and removing disks and interfaces.
#pragma once

#include "config/specs.hpp"
#include "control/store_client.hpp"

#include <cero/abi/types.h>

#include <optional>
#include <string>
#include <vector>

namespace cero::toolstack {

inline constexpr std::string_view disk_kind = "vbd";
inline constexpr std::string_view interface_kind = "vif";

/// One device of a domain as XenStore shows it.
struct Device {
    cero_domid domain{};
    std::string kind; ///< "vbd" or "vif"
    unsigned id{};
    unsigned backend_state{};
    unsigned frontend_state{};
    std::string target; ///< disk: params
    std::string mode;   ///< disk: "w" or "r"
    std::string mac;    ///< interface
    std::string bridge; ///< interface
    unsigned port{};    ///< the frontend's event channel, if it has told one
};

/// Facts about a block device of this domain that rules about sharing need.
struct BlockTarget {
    std::string path;
    std::string name; ///< "vda1"
    unsigned major{};
    unsigned minor{};
};
/// Throws Error when there is no such block device. Bare names mean devices in /dev.
[[nodiscard]] BlockTarget find_block_target(const std::string& target);
/// True when the two cannot be written independently: equal, or a disk and its partition.
[[nodiscard]] bool do_overlap(std::string_view name_a, std::string_view name_b) noexcept;

/// Throws Error when somebody else (a domain, or a mount here) uses the disk in a way that clashes.
void check_disk_is_free(control::StoreClient& store, const BlockTarget& target, bool for_writing,
                        const std::string& mounts);

using Requests = std::vector<std::pair<store::Op, std::string>>;
/// Appends what creates the device's nodes. `mac` must be set for an interface.
void add_disk_nodes(Requests& requests, cero_domid domain, const config::DiskSpec& disk,
                    const BlockTarget& target);
void add_interface_nodes(Requests& requests, cero_domid domain, unsigned id,
                         const config::VifSpec& interface);

/// The devices of one kind of a domain, or of all domains.
[[nodiscard]] std::vector<Device> list_devices(control::StoreClient& store, std::string_view kind,
                                               std::optional<cero_domid> domain);

/// Waits until the backends of the devices wait for their frontends. Throws Error at a timeout,
/// when a backend reports an error, and at once when somebody else takes the nodes away.
void wait_for_backends(control::StoreClient& store, cero_domid domain,
                       const std::vector<std::pair<std::string_view, unsigned>>& devices,
                       int timeout_ms);

/// Asks the backend to close; `force` also takes the frontend's nodes away first, so that no guest
/// can delay it. Removes all nodes at the end. Returns false when the backend did not close in time
/// (nodes are removed nevertheless when forced).
bool remove_device(control::StoreClient& store, cero_domid domain, std::string_view kind,
                   unsigned id, bool force, int timeout_ms);

} // namespace cero::toolstack
