// SPDX-License-Identifier: BSD-2-Clause
// Nodes of split devices, their states, and the rules about sharing disks.
#include "toolstack/devices.hpp"

#include "base/error.hpp"
#include "toolstack/paths.hpp"

#include <cero/abi/io/store.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace cero::toolstack {

namespace {

using control::StoreClient;

unsigned number_or_zero(const std::optional<std::string>& text) noexcept {
    unsigned number = 0;
    if (text)
        (void)std::from_chars(text->data(), text->data() + text->size(), number);
    return number;
}

std::string error_path(cero_domid domain, std::string_view kind, unsigned id) {
    return fmt::format("/local/domain/0/error/backend/{}/{}/{}", kind, domain, id);
}

void add_write(Requests& requests, const std::string& directory, std::string_view key,
               std::string_view value) {
    requests.emplace_back(store::Op::write,
                          control::write_payload(fmt::format("{}/{}", directory, key), value));
}

/// Makes the two directories of a device and gives each side its rights before a key is written.
void add_directories(Requests& requests, cero_domid domain, const std::string& front,
                     const std::string& back) {
    requests.emplace_back(store::Op::mkdir, control::path_payload(front));
    requests.emplace_back(store::Op::set_perms,
                          control::permissions_payload(front, {fmt::format("n{}", domain), "r0"}));
    requests.emplace_back(store::Op::mkdir, control::path_payload(back));
    requests.emplace_back(store::Op::set_perms,
                          control::permissions_payload(back, {"n0", fmt::format("r{}", domain)}));
}

} // namespace

BlockTarget find_block_target(const std::string& target) {
    BlockTarget found;
    found.path = target.starts_with('/') ? target : "/dev/" + target;
    found.name = found.path.substr(found.path.rfind('/') + 1);
    struct stat status {};
    if (::stat(found.path.c_str(), &status) != 0)
        throw Error{ExitCode::not_found, fmt::format("disk {}: {}", target, errno_text(errno)),
                    "Name a block device of the control domain: \"ls /dev\" or \"cat "
                    "/proc/partitions\" shows them."};
    if (!S_ISBLK(status.st_mode))
        throw Error{ExitCode::failed, fmt::format("disk {}: it is no block device", target),
                    "Image files are not supported; use a whole disk or a partition."};
    found.major = ::major(status.st_rdev);
    found.minor = ::minor(status.st_rdev);
    return found;
}

bool do_overlap(std::string_view a, std::string_view b) noexcept {
    if (a == b)
        return true;
    if (a.size() > b.size())
        std::swap(a, b);
    if (!b.starts_with(a))
        return false;
    std::string_view partition = b.substr(a.size()); // "1", or "p1" behind a digit
    if (!a.empty() && a.back() >= '0' && a.back() <= '9') {
        if (!partition.starts_with('p'))
            return false;
        partition.remove_prefix(1);
    }
    return !partition.empty() &&
           partition.find_first_not_of("0123456789") == std::string_view::npos;
}

void check_disk_is_free(StoreClient& store, const BlockTarget& target, bool for_writing,
                        const std::string& mounts) {
    for (const Device& other : list_devices(store, disk_kind, std::nullopt)) {
        const std::string other_name = other.target.substr(other.target.rfind('/') + 1);
        const bool other_writes = other.mode.starts_with('w');
        if (!do_overlap(target.name, other_name) || (!for_writing && !other_writes))
            continue;
        const auto name = store.read(domain_path(other.domain) + "/name");
        throw Error{
            ExitCode::failed,
            fmt::format("disk {}: domain {} ({}) already {} {} as {}", target.path, other.domain,
                        name.value_or("?"), other_writes ? "writes to" : "reads from", other.target,
                        config::vdev_of(other.id)),
            "Two domains cannot share a disk while one writes to it. Detach it there, or give "
            "both access \"r\"."};
    }
    std::string_view rest = mounts;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        const std::string_view device = line.substr(0, line.find(' '));
        if (!device.starts_with("/dev/") || !do_overlap(target.name, device.substr(5)))
            continue;
        const std::string_view where = line.substr(device.size() + 1);
        const bool is_read_only = line.find(" ro,") != std::string_view::npos ||
                                  line.find(" ro ") != std::string_view::npos;
        if (for_writing || !is_read_only)
            throw Error{ExitCode::failed,
                        fmt::format("disk {}: the control domain has {} mounted on {}", target.path,
                                    device, where.substr(0, where.find(' '))),
                        "Unmount it first."};
    }
}

void add_disk_nodes(Requests& requests, cero_domid domain, const config::DiskSpec& disk,
                    const BlockTarget& target) {
    const unsigned id = disk.device_id();
    const std::string front = frontend_path(domain, disk_kind, id);
    const std::string back = backend_path(domain, disk_kind, id);
    const std::string state = std::to_string(CERO_XENBUS_STATE_initialising);
    add_directories(requests, domain, front, back);
    add_write(requests, front, "backend", back);
    add_write(requests, front, "backend-id", "0");
    add_write(requests, front, "virtual-device", std::to_string(id));
    add_write(requests, front, "device-type", "disk");
    add_write(requests, front, "trusted", "1");
    add_write(requests, back, "frontend", front);
    add_write(requests, back, "frontend-id", std::to_string(domain));
    add_write(requests, back, "online", "1");
    add_write(requests, back, "removable", "0");
    add_write(requests, back, "bootable", "1");
    add_write(requests, back, "dev", disk.vdev);
    add_write(requests, back, "type", "phy");
    add_write(requests, back, "mode", disk.is_writable ? "w" : "r");
    add_write(requests, back, "device-type", "disk");
    add_write(requests, back, "discard-enable", disk.discard.value_or(true) ? "1" : "0");
    if (disk.persistent_grants)
        add_write(requests, back, "persistent-grants", "1");
    add_write(requests, back, "params", target.path);
    // Backends that open by number (Linux's) look at this one; libxl's script writes it there.
    add_write(requests, back, "physical-device",
              fmt::format("{:x}:{:x}", target.major, target.minor));
    add_write(requests, front, "state", state);
    add_write(requests, back, "state", state);
}

void add_interface_nodes(Requests& requests, cero_domid domain, unsigned id,
                         const config::VifSpec& interface) {
    const std::string front = frontend_path(domain, interface_kind, id);
    const std::string back = backend_path(domain, interface_kind, id);
    const std::string state = std::to_string(CERO_XENBUS_STATE_initialising);
    const std::string mac = config::format_mac(interface.mac.value_or(config::MacAddress{}));
    add_directories(requests, domain, front, back);
    add_write(requests, front, "backend", back);
    add_write(requests, front, "backend-id", "0");
    add_write(requests, front, "handle", std::to_string(id));
    add_write(requests, front, "mac", mac);
    add_write(requests, front, "trusted", "1");
    add_write(requests, back, "frontend", front);
    add_write(requests, back, "frontend-id", std::to_string(domain));
    add_write(requests, back, "online", "1");
    add_write(requests, back, "mac", mac);
    add_write(requests, back, "bridge", interface.bridge);
    add_write(requests, back, "handle", std::to_string(id));
    add_write(requests, back, "type", "vif");
    if (!interface.ip.empty())
        add_write(requests, back, "ip", interface.ip);
    if (!interface.vifname.empty())
        add_write(requests, back, "vifname", interface.vifname);
    if (interface.mtu) {
        add_write(requests, front, "mtu", std::to_string(*interface.mtu));
        add_write(requests, back, "mtu", std::to_string(*interface.mtu));
    }
    add_write(requests, front, "state", state);
    add_write(requests, back, "state", state);
}

std::vector<Device> list_devices(StoreClient& store, std::string_view kind,
                                 std::optional<cero_domid> domain) {
    std::vector<Device> devices;
    const std::string top = fmt::format("/local/domain/0/backend/{}", kind);
    std::vector<std::string> domains;
    if (domain)
        domains.push_back(std::to_string(*domain));
    else
        domains = store.list(top).value_or(std::vector<std::string>{});
    for (const std::string& number : domains)
        for (const std::string& id :
             store.list(top + "/" + number).value_or(std::vector<std::string>{})) {
            Device device;
            device.domain = static_cast<cero_domid>(number_or_zero(number));
            device.kind = kind;
            device.id = number_or_zero(id);
            const std::string back = backend_path(device.domain, kind, device.id);
            const std::string front = frontend_path(device.domain, kind, device.id);
            const auto text = [&](const std::string& path) {
                return store.read(path).value_or("");
            };
            device.backend_state = number_or_zero(store.read(back + "/state"));
            device.frontend_state = number_or_zero(store.read(front + "/state"));
            auto port = store.read(front + "/event-channel");
            if (!port) // several queues: the first one's
                port = store.read(front + "/queue-0/event-channel");
            device.port = number_or_zero(port);
            if (kind == disk_kind) {
                device.target = text(back + "/params");
                device.mode = text(back + "/mode");
            } else {
                device.mac = text(back + "/mac");
                device.bridge = text(back + "/bridge");
            }
            devices.push_back(std::move(device));
        }
    return devices;
}

void wait_for_backends(StoreClient& store, cero_domid domain,
                       const std::vector<std::pair<std::string_view, unsigned>>& devices,
                       int timeout_ms) {
    if (devices.empty())
        return;
    const std::string_view token = "backend-ready";
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000;
    std::set<std::string> watched;
    for (const auto& [kind, id] : devices) {
        const std::string back = backend_path(domain, kind, id);
        store.watch(back + "/state", token);
        watched.insert(back + "/state");
    }
    const auto stop_watching = [&] {
        for (const std::string& path : watched)
            store.unwatch(path, token);
        while (store.pending())
            ;
    };
    for (const auto& [kind, id] : devices) {
        const std::string back = backend_path(domain, kind, id);
        for (;;) {
            const auto state_text = store.read(back + "/state");
            const unsigned state = number_or_zero(state_text);
            if (state >= CERO_XENBUS_STATE_init_wait && state <= CERO_XENBUS_STATE_connected)
                break;
            const auto problem = store.read(error_path(domain, kind, id) + "/error");
            const std::uint64_t now = monotonic_ns();
            const bool is_removed = !state_text || state >= CERO_XENBUS_STATE_closing;
            if (problem || now >= deadline || is_removed) {
                stop_watching();
                const std::string what = kind == disk_kind ? "disk " + config::vdev_of(id)
                                                           : fmt::format("interface {}", id);
                if (problem)
                    throw Error{ExitCode::failed,
                                fmt::format("{} of domain {}: its backend reports: {}", what,
                                            domain, *problem)};
                if (is_removed)
                    throw Error{ExitCode::failed,
                                fmt::format("{} of domain {}: it was removed before its backend "
                                            "was ready",
                                            what, domain),
                                "Somebody destroyed the domain or detached the device at the same "
                                "time."};
                throw Error{ExitCode::timed_out,
                            fmt::format("{} of domain {}: its backend did not get ready (state {})",
                                        what, domain, state),
                            "The control domain's kernel may lack the backend driver."};
            }
            (void)store.wait(static_cast<int>((deadline - now) / 1'000'000) + 1);
        }
    }
    stop_watching();
}

bool remove_device(StoreClient& store, cero_domid domain, std::string_view kind, unsigned id,
                   bool force, int timeout_ms) {
    const std::string front = frontend_path(domain, kind, id);
    const std::string back = backend_path(domain, kind, id);
    const std::string_view token = "backend-gone";
    const auto state = [&] { return store.read(back + "/state"); };
    const auto is_closed = [](const std::optional<std::string>& text) {
        return !text || number_or_zero(text) == CERO_XENBUS_STATE_closed ||
               number_or_zero(text) == CERO_XENBUS_STATE_unknown;
    };
    bool closed = is_closed(state());
    if (!closed) {
        store.watch(back + "/state", token);
        store.transact([&](std::uint32_t transaction) {
            if (!store.read(back + "/state", transaction))
                return;
            store.write(back + "/online", "0", transaction);
            store.write(back + "/state", std::to_string(CERO_XENBUS_STATE_closing), transaction);
        });
        if (force)
            store.remove(front);
        const std::uint64_t deadline =
            monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000;
        for (;;) {
            closed = is_closed(state());
            const std::uint64_t now = monotonic_ns();
            if (closed || now >= deadline)
                break;
            (void)store.wait(static_cast<int>((deadline - now) / 1'000'000) + 1);
        }
        store.unwatch(back + "/state", token);
        while (store.pending())
            ;
    }
    if (closed || force) {
        store.remove(front);
        store.remove(back);
        store.remove(error_path(domain, kind, id));
        // The domain's own directories of backends go with the last device.
        const std::string above = fmt::format("/local/domain/0/backend/{}/{}", kind, domain);
        if (const auto left = store.list(above); left && left->empty())
            store.remove(above);
    }
    return closed;
}

} // namespace cero::toolstack
