// SPDX-License-Identifier: BSD-2-Clause
// Verbs about disks and network interfaces.
#include "base/error.hpp"
#include "cli/listing.hpp"
#include "config/domain_config.hpp"
#include "toolstack/devices.hpp"
#include "toolstack/paths.hpp"

#include <nlohmann/json.hpp>

namespace cero::cli {

namespace {

using toolstack::Device;

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

/// What the words of an attach verb describe: xl takes commas and blanks between them.
template <typename Spec>
Spec parse_spec(const std::string& verb, const std::vector<std::string>& words,
                Spec (*parse)(std::string_view text)) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ",") + word;
    try {
        return parse(text);
    } catch (const config::SpecError& error) {
        throw Error{ExitCode::usage, fmt::format("{}: {}", verb, error.text)};
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
    parser.domain_option(domain_name);
    parser->add_option("DISK", words, "like phy:/dev/vda2,xvdb,w or target=..., see cero.cfg(5)")
        ->required();
    parser.timeout_option(timeout, "seconds to wait for the backend (10)");
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(domain_name);
    const config::DiskSpec disk = parse_spec(verb, words, config::parse_disk);
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
    parser.domain_option(domain_name);
    parser->add_option("KEY=VALUE", words, "mac=, bridge=, mtu=, ip=, vifname=, see cero.cfg(5)");
    parser.timeout_option(timeout, "seconds to wait for the backend (10)");
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(domain_name);
    config::VifSpec interface = parse_spec(verb, words, config::parse_vif);
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
    parser.domain_option(domain_name);
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
    const auto asked = parse_list(verb, arguments);
    if (!asked)
        return 0;
    const bool is_block = is_block_verb(verb);
    const std::string_view kind = is_block ? toolstack::disk_kind : toolstack::interface_kind;
    std::vector<Device> devices;
    if (asked->names.empty())
        devices = toolstack::list_devices(session.store(), kind, std::nullopt);
    for (const std::string& name : asked->names)
        for (Device& device : toolstack::list_devices(session.store(), kind, session.find(name)))
            devices.push_back(std::move(device));
    Listing listing{
        asked->json,
        is_block ? fmt::format("{:<6} {:<4} {:<6} {:<5} {:<6} {:<5} {:<16} {}\n", "Vdev", "BE",
                               "handle", "state", "evt-ch", "mode", "target", "BE-path")
                 : fmt::format("{:<4} {:<4} {:<18} {:<6} {:<5} {:<6} {:<10} {}\n", "Idx", "BE",
                               "Mac Addr.", "handle", "state", "evt-ch", "bridge", "BE-path")};
    for (const Device& device : devices) {
        const std::string back = toolstack::backend_path(device.domain, kind, device.id);
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
            listing.add(std::move(entry),
                        fmt::format("{:<6} {:<4} {:<6} {:<5} {:<6} {:<5} {:<16} {}\n", device.id, 0,
                                    device.domain, device.frontend_state, device.port, device.mode,
                                    device.target, back));
        } else {
            entry["mac"] = device.mac;
            entry["bridge"] = device.bridge;
            listing.add(std::move(entry),
                        fmt::format("{:<4} {:<4} {:<18} {:<6} {:<5} {:<6} {:<10} {}\n", device.id,
                                    0, device.mac, device.id, device.frontend_state, device.port,
                                    device.bridge, back));
        }
    }
    return listing.end();
}

} // namespace cero::cli
