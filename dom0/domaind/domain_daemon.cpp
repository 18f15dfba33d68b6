// SPDX-License-Identifier: BSD-2-Clause
// Ends of domains and what follows them.
#include "domaind/domain_daemon.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/number.hpp"
#include "toolstack/console_log.hpp"
#include "toolstack/core_dump.hpp"
#include "toolstack/paths.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>

namespace cero::domaind {

namespace {

using config::Action;

constexpr int device_timeout_ms = 10000;

Action action_for(const config::DomainConfig& config, control::ShutdownReason reason) noexcept {
    switch (reason) {
    case control::ShutdownReason::poweroff:
        return config.on_poweroff;
    case control::ShutdownReason::reboot:
        return config.on_reboot;
    case control::ShutdownReason::crash:
        return config.on_crash;
    case control::ShutdownReason::watchdog:
        return config.on_watchdog;
    case control::ShutdownReason::soft_reset:
        return config.on_soft_reset;
    case control::ShutdownReason::suspend:
        return Action::preserve; // whoever asked for it looks after it
    }
    return Action::destroy;
}

} // namespace

const RestartBrake::Limit* RestartBrake::refuse(const std::string& name, std::uint64_t now_ns,
                                                bool is_lasting) {
    std::vector<Restart>& noted = restarts_[name];
    std::erase_if(noted, [&](const Restart& restart) {
        return now_ns - restart.at_ns > (restart.is_lasting ? lasting : brief).window_ns;
    });
    const auto count = [&](auto counts) {
        return static_cast<std::size_t>(std::count_if(noted.begin(), noted.end(), counts));
    };
    const Limit* limit = nullptr;
    if (count([&](const Restart& each) { return now_ns - each.at_ns <= brief.window_ns; }) >=
        brief.restarts)
        limit = &brief;
    else if (is_lasting &&
             count([](const Restart& each) { return each.is_lasting; }) >= lasting.restarts)
        limit = &lasting;
    if (limit != nullptr)
        restarts_.erase(name);
    else
        noted.push_back({now_ns, is_lasting});
    return limit;
}

bool DomainDaemon::may_restart(cero_domid domain, const config::DomainConfig& config,
                               control::ShutdownReason reason, Action action) {
    const bool is_lasting = reason != control::ShutdownReason::reboot || action != Action::restart;
    const RestartBrake::Limit* const limit = brake_.refuse(config.name, monotonic_ns(), is_lasting);
    if (limit == nullptr)
        return true;
    log("domain {} ({}): it has been started again {} times within {}; now it is removed and not "
        "started again{}. Look at {}/{}.log; \"cero create\" with its configuration starts it.",
        domain, config.name, limit->restarts, limit->window,
        action == Action::coredump_restart ? ", and no core is written" : "",
        toolstack::console_log_directory, config.name);
    toolstack::destroy_domain(machine_, domain, device_timeout_ms);
    return false;
}

std::string DomainDaemon::too_many_kept(const std::string& name) {
    std::string list;
    std::size_t count = 0;
    for (const control::DomainInfo& info : machine_.control.domains()) {
        const std::string kept = fmt::format("{}-{}", name, info.domain);
        if ((info.flags & CERO_DOMINF_shutdown) == 0 ||
            machine_.store.read(toolstack::domain_path(info.domain) + "/name") != kept)
            continue;
        list += (count == 0 ? "" : ", ") + kept;
        ++count;
    }
    return count >= kept_max ? list : "";
}

void DomainDaemon::restart(cero_domid domain, const config::DomainConfig& config, bool keep_old) {
    if (keep_old) {
        if (const std::string kept = too_many_kept(config.name); !kept.empty()) {
            log("domain {} ({}): {} are kept already, so this one is removed; \"cero destroy\" of "
                "one makes room for the next",
                domain, config.name, kept);
            keep_old = false;
        }
    }
    config::DomainConfig next = config;
    if (keep_old) {
        toolstack::save_console(domain);
        // The old one gives up its name, its UUID in the store and its devices, and stays.
        toolstack::clean_up_after(machine_, domain, device_timeout_ms,
                                  fmt::format("{}-{}", config.name, domain));
        next.uuid.reset();
        handled_.insert(domain);
    } else {
        toolstack::destroy_domain(machine_, domain, device_timeout_ms);
    }
    toolstack::CreateOptions options;
    options.device_timeout_ms = device_timeout_ms;
    options.mounts = read_file("/proc/mounts").value_or("");
    const cero_domid fresh = toolstack::create_domain(machine_, next, options);
    log("domain {} ({}) is started again as domain {}", domain, config.name, fresh);
}

void DomainDaemon::dump_core(cero_domid domain, const config::DomainConfig& config) {
    const std::string& name = config.name;
    const std::string mounts = read_file("/proc/mounts").value_or("");
    const std::string directory = toolstack::core_directory(config, mounts);
    const std::string path = toolstack::core_file(directory, domain, name);
    for (const std::string& old : toolstack::remove_old_cores(directory, name, cores_max - 1))
        log("domain {} ({}): {} is removed: the newest {} cores of a name are kept", domain, name,
            old, cores_max);
    try {
        const toolstack::CoreDump core = toolstack::dump_core(machine_, domain, path, false);
        log("domain {} ({}): core of {} MiB in {}", domain, name,
            core.pages / control::pages_per_mib, path);
    } catch (const Error& error) { // what else the action asks for is done all the same
        log("domain {} ({}): no core: {}{}{}", domain, name, error.what(),
            error.remedy().empty() ? "" : ": ", error.remedy());
    }
}

void DomainDaemon::handle_end(const control::DomainInfo& info) {
    const auto reason = static_cast<control::ShutdownReason>(
        info.flags >> CERO_DOMINF_shutdownshift & CERO_DOMINF_shutdownmask);
    const auto config = toolstack::saved_config(info.domain);
    if (!config)
        return; // nobody has told us what to do: somebody else looks after it
    const Action action = action_for(*config, reason);
    log("domain {} ({}) has ended: {}; {}", info.domain, config->name,
        control::shutdown_reason_name(static_cast<unsigned>(reason)), config::action_name(action));
    const bool is_to_restart = action == Action::restart || action == Action::coredump_restart ||
                               action == Action::rename_restart;
    if (is_to_restart && !may_restart(info.domain, *config, reason, action))
        return;
    if (action == Action::coredump_destroy || action == Action::coredump_restart)
        dump_core(info.domain, *config);
    switch (action) {
    case Action::destroy:
    case Action::coredump_destroy:
        toolstack::destroy_domain(machine_, info.domain, device_timeout_ms);
        break;
    case Action::restart:
    case Action::coredump_restart:
        restart(info.domain, *config, false);
        break;
    case Action::rename_restart:
        restart(info.domain, *config, true);
        break;
    case Action::preserve:
        handled_.insert(info.domain);
        break;
    }
}

void DomainDaemon::clean_orphans(const std::set<cero_domid>& alive) {
    for (const std::string& text :
         machine_.store.list("/local/domain").value_or(std::vector<std::string>{})) {
        const cero_domid domain = number_of<cero_domid>(text).value_or(0);
        if (domain == 0 || alive.contains(domain) || machine_.control.domain(domain))
            continue;
        if (!machine_.store.read(toolstack::domain_path(domain) + "/vm")) {
            machine_.store.remove(toolstack::domain_path(domain)); // somebody is about to do it
            continue;
        }
        log("domain {} is gone; removing what it left", domain);
        toolstack::clean_up_after(machine_, domain, device_timeout_ms);
    }
}

void DomainDaemon::look() {
    std::set<cero_domid> alive;
    for (const control::DomainInfo& info : machine_.control.domains()) {
        alive.insert(info.domain);
        const bool has_ended = (info.flags & CERO_DOMINF_shutdown) != 0 &&
                               (info.flags & CERO_DOMINF_dying) == 0 && info.domain != 0;
        if (!has_ended || handled_.contains(info.domain))
            continue;
        try {
            handle_end(info);
        } catch (const Error& error) {
            log("domain {}: {}{}{}", info.domain, error.what(), error.remedy().empty() ? "" : ": ",
                error.remedy());
            handled_.insert(info.domain); // once is enough: it stays for somebody to look at
        }
    }
    std::erase_if(handled_, [&](cero_domid domain) { return !alive.contains(domain); });
    clean_orphans(alive);
}

int daemon_main(int argc, char**) {
    set_log_name("cero-domaind");
    if (argc != 1) {
        fmt::print(stderr, "usage: cero-domaind\n");
        return static_cast<int>(ExitCode::usage);
    }
    ::signal(SIGPIPE, SIG_IGN);
    const auto control = control::open_domain_control();
    // Events have a connection of their own: waiting for a backend discards what it does not
    // expect.
    control::StoreClient events = control::StoreClient::open();
    control::StoreClient store = control::StoreClient::open();
    events.watch("@releaseDomain", "ends");
    DomainDaemon daemon{*control, store};
    log("ready");
    for (;;) {
        while (events.pending()) // one look answers them all
            ;
        daemon.look();
        (void)events.wait(-1);
    }
}

} // namespace cero::domaind
