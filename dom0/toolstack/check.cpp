// SPDX-License-Identifier: BSD-2-Clause
// `cero check`: frames, event channels, XenStore and devices against the list of domains.
#include "toolstack/check.hpp"

#include "base/number.hpp"
#include "toolstack/devices.hpp"
#include "toolstack/paths.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>

namespace cero::toolstack {

namespace {

using control::StoreClient;

std::uint64_t count_nodes(StoreClient& store, const std::string& path) {
    std::uint64_t nodes = 1;
    for (const std::string& name : store.list(path).value_or(std::vector<std::string>{}))
        nodes += count_nodes(store, path == "/" ? "/" + name : path + "/" + name);
    return nodes;
}

std::uint64_t count_ports(control::DomainControl& control, cero_domid domain) {
    std::uint64_t open = 0;
    constexpr cero_evtchn_port ports_max = 4096;
    for (cero_evtchn_port port = 1; port < ports_max; ++port) {
        const auto status = control.port_status(domain, port);
        if (!status)
            break;
        open += *status != 0 ? 1 : 0;
    }
    return open;
}

/// A name goes last, just after its domain's last frame: whoever destroys the domain gets a moment.
bool is_left_behind(StoreClient& store, const std::string& path) {
    constexpr std::uint64_t patience_ns = 1'000'000'000;
    if (store.list(path) != std::vector<std::string>{"name"})
        return true;
    store.watch(path, "check");
    const std::uint64_t deadline = monotonic_ns() + patience_ns;
    bool is_there = true;
    for (std::uint64_t now = monotonic_ns(); is_there && now < deadline; now = monotonic_ns()) {
        (void)store.wait(static_cast<int>((deadline - now) / 1'000'000) + 1);
        is_there = store.read(path).has_value();
    }
    store.unwatch(path, "check");
    while (store.pending())
        ;
    return is_there;
}

/// A guest keeps what it has when its limit goes down (`mem-set`) until its balloon gives pages
/// back, if it has one; more than it was created for is never right.
void check_memory(const control::DomainInfo& info, CheckReport& report) {
    if (info.tot_pages <= info.max_pages || info.domain == 0)
        return;
    report.figures.emplace_back(fmt::format("domain {} pages to give back", info.domain),
                                info.tot_pages - info.max_pages);
    constexpr std::uint64_t kib_per_page = CERO_PAGE_SIZE / 1024;
    const auto config = saved_config(info.domain);
    const std::uint64_t most =
        config ? (config->max_memory_mib * 1024 + memory_slack_kib) / kib_per_page : info.max_pages;
    if (info.tot_pages > most)
        report.problems.push_back(fmt::format("domain {}: it has {} pages, its limit is {}",
                                              info.domain, info.tot_pages, most));
}

/// The hypervisor counts every frame again; its log names those that are wrong.
void audit_frames(control::DomainControl& control, CheckReport& report) {
    try {
        const auto wrong = control.audit_frames();
        if (!wrong)
            return; // not this hypervisor
        report.figures.emplace_back("frames that disagree", *wrong);
        if (*wrong != 0)
            report.problems.push_back(
                fmt::format("frames: {} do not agree with the page tables, roots and grants that "
                            "hold them; \"cero dmesg\" names them (\"audit:\")",
                            *wrong));
    } catch (const control::HypercallError& error) {
        report.problems.push_back(
            error.number() == EBUSY
                ? std::string{"frames: not audited, page tables were busy; check again"}
            : error.number() == ENOMEM
                ? std::string{"frames: not audited, the hypervisor has no memory for it"}
                : fmt::format("frames: not audited: {}", error.what()));
    }
}

} // namespace

CheckReport check_machine(Machine& machine) {
    CheckReport report;
    std::map<cero_domid, control::DomainInfo> domains;
    std::uint64_t pages = 0;
    std::uint64_t ports = 0;
    for (const control::DomainInfo& info : machine.control.domains()) {
        domains[info.domain] = info;
        pages += info.tot_pages;
        const std::uint64_t open = count_ports(machine.control, info.domain);
        ports += open;
        report.figures.emplace_back(fmt::format("domain {} pages", info.domain), info.tot_pages);
        report.figures.emplace_back(fmt::format("domain {} event channels", info.domain), open);
        if ((info.flags & CERO_DOMINF_dying) != 0)
            report.problems.push_back(
                fmt::format("domain {}: it is dead, but {} of its frames are still held",
                            info.domain, info.tot_pages));
        check_memory(info, report);
    }
    const control::MachineInfo figures = machine.control.machine();
    report.figures.emplace_back("domains", domains.size());
    report.figures.emplace_back("total pages", figures.total_pages);
    report.figures.emplace_back("free pages", figures.free_pages);
    report.figures.emplace_back("pages of domains", pages);
    report.figures.emplace_back("event channels", ports);
    report.figures.emplace_back("XenStore nodes", count_nodes(machine.store, "/"));
    if (pages + figures.free_pages > figures.total_pages)
        report.problems.push_back(
            fmt::format("frames: {} in domains and {} free are more than the {} "
                        "that there are",
                        pages, figures.free_pages, figures.total_pages));
    audit_frames(machine.control, report);
    std::map<std::string, std::string> names;
    for (const std::string& text :
         machine.store.list("/local/domain").value_or(std::vector<std::string>{})) {
        const auto domain = number_of<cero_domid>(text);
        const std::string name = machine.store.read("/local/domain/" + text + "/name").value_or("");
        if (!domain ||
            (!domains.contains(*domain) && is_left_behind(machine.store, "/local/domain/" + text)))
            report.problems.push_back(
                fmt::format("XenStore: nodes of domain {} ({}), which does not exist", text, name));
        if (const auto [other, is_new] = names.emplace(name, text); !is_new && !name.empty())
            report.problems.push_back(fmt::format("XenStore: domains {} and {} are both called {}",
                                                  other->second, text, name));
    }
    for (const auto& [domain, info] : domains) {
        if (!machine.store.read(domain_path(domain)))
            report.problems.push_back(
                fmt::format("domain {}: it has no nodes in XenStore", domain));
        if (domain == 0 || (info.flags & CERO_DOMINF_dying) != 0)
            continue;
        const auto introduced = machine.store.request(
            store::Op::is_domain_introduced, control::path_payload(std::to_string(domain)));
        if (!introduced || !(*introduced).starts_with('T'))
            report.problems.push_back(fmt::format("domain {}: XenStore does not serve it", domain));
    }
    for (const std::string_view kind : {disk_kind, interface_kind})
        for (const Device& device : list_devices(machine.store, kind, std::nullopt))
            if (!domains.contains(device.domain))
                report.problems.push_back(
                    fmt::format("XenStore: a backend {}/{}/{} of a domain that does not exist",
                                kind, device.domain, device.id));
    const auto usage = machine.store.request(store::Op::control, control::path_payload("usage"));
    std::string_view lines = usage ? std::string_view{*usage} : std::string_view{};
    while (!lines.empty()) {
        const std::string line{lines.substr(0, lines.find('\n'))};
        lines.remove_prefix(std::min(lines.size(), line.size() + 1));
        unsigned domain = 0;
        unsigned nodes = 0;
        unsigned watches = 0;
        if (std::sscanf(line.c_str(), "%u %u %u", &domain, &nodes, &watches) != 3)
            continue;
        report.figures.emplace_back(fmt::format("domain {} XenStore nodes", domain), nodes);
        report.figures.emplace_back(fmt::format("domain {} XenStore watches", domain), watches);
    }
    const auto audit = machine.store.request(store::Op::control, control::path_payload("check"));
    if (!audit && audit.error() != Errno::nosys)
        report.problems.push_back("XenStore: its own count of nodes does not agree with the tree");
    return report;
}

} // namespace cero::toolstack
