// SPDX-License-Identifier: BSD-2-Clause
// Verbs about disks and network interfaces.
#include "base/error.hpp"
#include "cli/arguments.hpp"
#include "config/domain_config.hpp"
#include "toolstack/devices.hpp"
#include "toolstack/paths.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>

namespace cero::cli {

namespace {

using toolstack::Device;

constexpr double device_timeout = 10;

int milliseconds(double seconds) {
    return static_cast<int>(std::lround(std::min(seconds, 2e6) * 1000));
}

bool is_block_verb(const std::string& verb) {
    return verb.starts_with("block");
}

/// Creates the nodes in one transaction and waits for the backend; takes them back when that fails.
void attach(control::StoreClient& store, cero_domid domain, std::string_view kind, unsigned id,
            const toolstack::Requests& requests, double timeout) {
    store.transact([&](std::uint32_t transaction) {
        if (store.read(toolstack::backend_path(domain, kind, id) + "/state", transaction))
            throw Error{ExitCode::failed,
                        fmt::format("domain {}: it already has {} {}", domain,
                                    kind == toolstack::disk_kind ? "the disk" : "the interface",
                                    kind == toolstack::disk_kind ? config::vdev_of(id)
                                                                 : std::to_string(id))};
        store.send_all(requests, transaction);
    });
    try {
        toolstack::wait_for_backends(store, domain, {{kind, id}}, milliseconds(timeout));
    } catch (const Error&) {
        (void)toolstack::remove_device(store, domain, kind, id, true, 1000);
        throw;
    }
}

std::string_view state_name(unsigned state) {
    constexpr std::string_view names[] = {"unknown",     "initialising",  "init-wait",
                                          "initialised", "connected",     "closing",
                                          "closed",      "reconfiguring", "reconfigured"};
    return state < std::size(names) ? names[state] : names[0];
}

} // namespace

int block_attach_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain_name;
    std::vector<std::string> words;
    double timeout = device_timeout;
    parser->add_option("DOMAIN", domain_name, "name or number")->required();
    parser->add_option("DISK", words, "like phy:/dev/vda2,xvdb,w or target=..., see cero.cfg(5)")
        ->required();
    parser.timeout_option(timeout, "seconds to wait for the backend (10)");
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(domain_name);
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ",") + word;
    config::DiskSpec disk;
    try {
        disk = config::parse_disk(text);
    } catch (const config::SpecError& error) {
        throw Error{ExitCode::usage, fmt::format("{}: {}", verb, error.text)};
    }
    const toolstack::BlockTarget target = toolstack::find_block_target(disk.target);
    toolstack::check_disk_is_free(session.store(), target, disk.is_writable,
                                  read_file("/proc/mounts").value_or(""));
    toolstack::Requests requests;
    toolstack::add_disk_nodes(requests, domain, disk, target);
    attach(session.store(), domain, toolstack::disk_kind, disk.device_id(), requests, timeout);
    return 0;
}

int network_attach_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain_name;
    std::vector<std::string> words;
    double timeout = device_timeout;
    parser->add_option("DOMAIN", domain_name, "name or number")->required();
    parser->add_option("KEY=VALUE", words, "mac=, bridge=, mtu=, ip=, vifname=, see cero.cfg(5)");
    parser.timeout_option(timeout, "seconds to wait for the backend (10)");
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(domain_name);
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ",") + word;
    config::VifSpec interface;
    try {
        interface = config::parse_vif(text);
    } catch (const config::SpecError& error) {
        throw Error{ExitCode::usage, fmt::format("{}: {}", verb, error.text)};
    }
    unsigned id = 0;
    for (const Device& device :
         toolstack::list_devices(session.store(), toolstack::interface_kind, domain))
        id = std::max(id, device.id + 1);
    if (!interface.mac) {
        const auto info = session.control().domain(domain);
        config::Uuid uuid{};
        if (info)
            std::copy(std::begin(info->handle), std::end(info->handle), uuid.begin());
        interface.mac = toolstack::make_mac(uuid, id);
    }
    toolstack::Requests requests;
    toolstack::add_interface_nodes(requests, domain, id, interface);
    attach(session.store(), domain, toolstack::interface_kind, id, requests, timeout);
    return 0;
}

int device_detach_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain_name;
    std::string device_name;
    bool force = false;
    double timeout = device_timeout;
    const bool is_block = is_block_verb(verb);
    parser->add_option("DOMAIN", domain_name, "name or number")->required();
    parser
        ->add_option("DEVICE", device_name,
                     is_block ? "virtual device like xvdb" : "index, or MAC address")
        ->required();
    parser->add_flag("-f,--force", force, "do not let the guest delay it");
    parser.timeout_option(timeout, "seconds to wait for the guest to let go (10)");
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(domain_name);
    const std::string_view kind = is_block ? toolstack::disk_kind : toolstack::interface_kind;
    std::optional<unsigned> id;
    for (const Device& device : toolstack::list_devices(session.store(), kind, domain)) {
        const bool matches =
            is_block ? config::device_id_of(device_name) == device.id
                     : device_name == std::to_string(device.id) || device_name == device.mac;
        if (matches)
            id = device.id;
    }
    if (!id)
        throw Error{ExitCode::not_found,
                    fmt::format("domain {}: it has no {} \"{}\"", domain,
                                is_block ? "disk" : "interface", device_name),
                    fmt::format("\"cero {} {}\" shows what it has.",
                                is_block ? "block-list" : "network-list", domain)};
    if (!toolstack::remove_device(session.store(), domain, kind, *id, force, milliseconds(timeout)))
        throw Error{ExitCode::timed_out,
                    fmt::format("domain {}: the guest did not let go of {} within {} s", domain,
                                device_name, timeout),
                    "It may be in use there (mounted?). \"-f\" takes it away nevertheless."};
    return 0;
}

int device_list_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::vector<std::string> names;
    bool json = false;
    parser->add_option("DOMAIN", names, "names or numbers; all without");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    const bool is_block = is_block_verb(verb);
    const std::string_view kind = is_block ? toolstack::disk_kind : toolstack::interface_kind;
    std::vector<Device> devices;
    if (names.empty())
        devices = toolstack::list_devices(session.store(), kind, std::nullopt);
    for (const std::string& name : names)
        for (Device& device : toolstack::list_devices(session.store(), kind, session.find(name)))
            devices.push_back(std::move(device));
    nlohmann::json list = nlohmann::json::array();
    if (!json)
        print(is_block
                  ? fmt::format("{:<6} {:<4} {:<6} {:<5} {:<6} {:<5} {:<16} {}\n", "Vdev", "BE",
                                "handle", "state", "evt-ch", "mode", "target", "BE-path")
                  : fmt::format("{:<4} {:<4} {:<18} {:<6} {:<5} {:<6} {:<10} {}\n", "Idx", "BE",
                                "Mac Addr.", "handle", "state", "evt-ch", "bridge", "BE-path"));
    for (const Device& device : devices) {
        const std::string back = toolstack::backend_path(device.domain, kind, device.id);
        if (json) {
            nlohmann::json entry{{"domid", device.domain},
                                 {"id", device.id},
                                 {"state", state_name(device.frontend_state)},
                                 {"backend_state", state_name(device.backend_state)},
                                 {"event_channel", device.port},
                                 {"backend_path", back}};
            if (is_block) {
                entry["vdev"] = config::vdev_of(device.id);
                entry["target"] = device.target;
                entry["mode"] = device.mode;
            } else {
                entry["mac"] = device.mac;
                entry["bridge"] = device.bridge;
            }
            list.push_back(std::move(entry));
        } else if (is_block) {
            print(fmt::format("{:<6} {:<4} {:<6} {:<5} {:<6} {:<5} {:<16} {}\n", device.id, 0,
                              device.domain, device.frontend_state, device.port, device.mode,
                              device.target, back));
        } else {
            print(fmt::format("{:<4} {:<4} {:<18} {:<6} {:<5} {:<6} {:<10} {}\n", device.id, 0,
                              device.mac, device.id, device.frontend_state, device.port,
                              device.bridge, back));
        }
    }
    if (json)
        print_json(list);
    return 0;
}

} // namespace cero::cli
