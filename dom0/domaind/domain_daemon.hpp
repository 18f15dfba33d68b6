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

/// Guards against a guest that ends as soon as it runs, and against one that leaves something
/// behind each time: too many restarts of a name in a while.
class RestartBrake {
public:
    struct Limit {
        std::size_t restarts;
        std::uint64_t window_ns;
        const char* window;
    };
    static constexpr Limit brief{5, 20'000'000'000, "20 seconds"};
    /// For ends that nobody ordered, or that leave a core or a domain behind.
    static constexpr Limit lasting{20, 3'600'000'000'000, "an hour"};

    /// Notes one restart and returns null; or the limit that does not allow it, and forgets the
    /// name, so that it starts afresh when somebody creates it again.
    [[nodiscard]] const Limit* refuse(const std::string& name, std::uint64_t now_ns,
                                      bool is_lasting);

private:
    struct Restart {
        std::uint64_t at_ns;
        bool is_lasting;
    };
    std::map<std::string, std::vector<Restart>> restarts_;
};

/// Everything that it knows is in the hypervisor, XenStore and /run/cero, so it can be restarted.
class DomainDaemon {
public:
    DomainDaemon(control::DomainControl& control, control::StoreClient& store)
        : machine_{control, store} {}
    /// Looks at every domain once and does what is due.
    void look();

private:
    static constexpr std::size_t cores_max = 3; ///< of one name that the daemon leaves there
    static constexpr std::size_t kept_max = 3;  ///< domains of one name that rename-restart keeps

    void handle_end(const control::DomainInfo& info);
    /// Whether the brake lets the domain be started again; if not, it is removed.
    [[nodiscard]] bool may_restart(cero_domid domain, const config::DomainConfig& config,
                                   control::ShutdownReason reason, config::Action action);
    /// What rename-restart has kept of the name, as a list for people; empty when there is room for
    /// more.
    [[nodiscard]] std::string too_many_kept(const std::string& name);
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
