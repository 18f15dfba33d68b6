// SPDX-License-Identifier: BSD-2-Clause
// Where dom0's programs meet: files, sockets and XenStore paths.
#pragma once

#include <cero/abi/types.h>

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace cero::toolstack {

/// Tests set another one.
inline std::string state_directory = "/run/cero";
/// Tests set another one.
inline std::string console_socket = "/run/cero/console";
inline constexpr const char* console_log_directory = "/var/log/cero/console";
/// The log of a service, by its name. Nothing of it goes to the console: scripts read there.
inline std::string service_log(std::string_view service) {
    return fmt::format("/var/log/cero/{}.log", service);
}
inline constexpr const char* autostart_directory = "/etc/cero/auto";
/// Where init mounts the file system labelled "data".
inline constexpr const char* data_directory = "/data";
/// Where init mounts the file system labelled "guests": kernels, ramdisks, configurations.
inline constexpr const char* guests_directory = "/guests";

/// The configuration that a running domain was created from; kept for reboots.
inline std::string config_file(cero_domid domain) {
    return fmt::format("{}/domain-{}.cfg", state_directory, domain);
}
inline std::string domain_path(cero_domid domain) {
    return fmt::format("/local/domain/{}", domain);
}
inline std::string availability_path(cero_domid domain, unsigned vcpu) {
    return fmt::format("/local/domain/{}/cpu/{}/availability", domain, vcpu);
}
inline std::string frontend_path(cero_domid domain, std::string_view kind, unsigned device) {
    return fmt::format("/local/domain/{}/device/{}/{}", domain, kind, device);
}
inline std::string backend_path(cero_domid domain, std::string_view kind, unsigned device) {
    return fmt::format("/local/domain/0/backend/{}/{}/{}", kind, domain, device);
}

} // namespace cero::toolstack
