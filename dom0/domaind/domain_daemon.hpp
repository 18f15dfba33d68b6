// SPDX-License-Identifier: BSD-2-Clause
// The domain daemon: carries out on_poweroff, on_reboot, on_crash, and removes what the dead leave.
#pragma once

#include "control/domain_control.hpp"
#include "control/store_client.hpp"
#include "toolstack/domains.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>

namespace cero::domaind {

/// Guards against a guest that reboots as soon as it runs: too many restarts of a name in a while.
class RestartBrake {
public:
    /// Notes one restart; false when there were too many lately.
    [[nodiscard]] bool may_restart(const std::string& name, std::uint64_t now_ns);

private:
    static constexpr std::size_t restarts_max = 5;
    static constexpr std::uint64_t window_ns = 20'000'000'000;
    std::map<std::string, std::vector<std::uint64_t>> restarts_;
};

/// Everything that it knows is in the hypervisor, XenStore and /run/cero, so it can be restarted.
class DomainDaemon {
public:
    DomainDaemon(control::DomainControl& control, control::StoreClient& store)
        : machine_{control, store} {}
    /// Looks at every domain once and does what is due.
    void look();

private:
    void handle_end(const control::DomainInfo& info);
    void dump_core(cero_domid domain, const config::DomainConfig& config);
    void restart(cero_domid domain, const config::DomainConfig& config, bool keep_old);
    void clean_orphans(const std::set<cero_domid>& alive);

    toolstack::Machine machine_;
    std::set<cero_domid> handled_; ///< preserved ones: nothing more is to be done
    RestartBrake brake_;
};

/// Program entry of `cero-domaind`.
int daemon_main(int argc, char** argv);

} // namespace cero::domaind
