// SPDX-License-Identifier: BSD-2-Clause
// Creation and end of domains: hypervisor, XenStore, backends, files, in an order that can be
// undone.
#include "toolstack/domains.hpp"

#include "base/number.hpp"
#include "builder/builder.hpp"
#include "toolstack/console_log.hpp"
#include "toolstack/devices.hpp"
#include "toolstack/paths.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

namespace cero::toolstack {

namespace {

using control::StoreClient;

std::optional<cero_domid> domain_number_of(std::string_view text) noexcept {
    const auto number = number_of<cero_domid>(text);
    return number && *number < CERO_DOMID_FIRST_RESERVED ? number : std::nullopt;
}

config::Uuid random_uuid() {
    config::Uuid uuid{};
    if (::getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size()))
        fail("cannot get random numbers for a UUID: {}", errno_text(errno));
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40); // version 4, RFC 4122
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

void write(Requests& requests, const std::string& path, std::string_view value) {
    requests.emplace_back(store::Op::write, control::write_payload(path, value));
}

/// The nodes that every domain has, before it is introduced.
Requests domain_nodes(cero_domid domain, const config::DomainConfig& config) {
    const std::string home = domain_path(domain);
    const std::string vm = "/vm/" + config::format_uuid(*config.uuid);
    const std::string readable = fmt::format("r{}", domain);
    Requests requests;
    const auto directory = [&](const std::string& path, std::vector<std::string> permissions) {
        requests.emplace_back(store::Op::mkdir, control::path_payload(path));
        requests.emplace_back(store::Op::set_perms,
                              control::permissions_payload(path, permissions));
    };
    directory(home, {"n0", readable});
    directory(vm, {"n0", readable});
    write(requests, vm + "/name", config.name);
    write(requests, vm + "/uuid", config::format_uuid(*config.uuid));
    write(requests, vm + "/start_time", fmt::format("{}.00", ::time(nullptr)));
    write(requests, home + "/name", config.name);
    write(requests, home + "/domid", std::to_string(domain));
    write(requests, home + "/vm", vm);
    write(requests, home + "/memory/static-max", std::to_string(config.max_memory_mib * 1024));
    write(requests, home + "/memory/target", std::to_string(config.memory_mib * 1024));
    for (unsigned vcpu = 0; vcpu < config.max_vcpus; ++vcpu)
        write(requests, availability_path(domain, vcpu),
              vcpu < config.vcpus ? "online" : "offline");
    write(requests, home + "/control/platform-feature-multiprocessor-suspend", "1");
    write(requests, home + "/control/platform-feature-xs_reset_watches", "1");
    requests.emplace_back(store::Op::mkdir, control::path_payload(home + "/device"));
    const std::string own = fmt::format("n{}", domain);
    for (const char* path : {"/control/shutdown", "/control/sysrq", "/control/feature-poweroff",
                             "/control/feature-reboot", "/control/feature-suspend", "/data",
                             "/drivers", "/feature", "/attr", "/error"})
        directory(home + path, {own});
    return requests;
}

/// Undoes a creation that failed: whatever was reached is taken back, in reverse.
class Creation {
public:
    Creation(Machine& machine, config::DomainConfig config, const CreateOptions& options)
        : machine_{machine}, config_{std::move(config)}, options_{options} {}

    cero_domid run() {
        if (!config_.uuid)
            config_.uuid = random_uuid();
        for (unsigned i = 0; i < config_.vifs.size(); ++i)
            if (!config_.vifs[i].mac)
                config_.vifs[i].mac = make_mac(*config_.uuid, i);
        check_names();
        check_machine(); // first: an absurd size is no fault of the images
        const builder::Plan plan = builder::Plan::make(config_.kernel, config_.ramdisk,
                                                       config_.command_line, config_.memory_mib);
        check_disks();
        if (options_.check_only)
            return 0;
        try {
            create(plan);
        } catch (const Error& error) {
            const bool vanished = is_created_ && has_vanished();
            unwind();
            if (vanished)
                throw Error{ExitCode::failed,
                            fmt::format("domain {} ({}): it vanished while it was created: {}",
                                        domain_, config_.name, error.what()),
                            "Somebody destroyed it at the same time."};
            throw;
        } catch (...) {
            unwind();
            throw;
        }
        return domain_;
    }

private:
    /// One that the hypervisor does not know any more has left its nodes, not its name.
    std::optional<cero_domid> other_of_this_name(std::uint32_t transaction) {
        for (const std::string& text : machine_.store.list("/local/domain", transaction)
                                           .value_or(std::vector<std::string>{})) {
            const auto number = domain_number_of(text);
            if (number && number != domain_ &&
                machine_.store.read(domain_path(*number) + "/name", transaction) == config_.name &&
                machine_.control.domain(*number))
                return number;
        }
        return std::nullopt;
    }

    void check_names() {
        if (const auto number = other_of_this_name(0))
            throw Error{ExitCode::failed,
                        fmt::format("domain \"{}\": the name is in use by domain {}", config_.name,
                                    *number),
                        "Give another name=, or destroy the other domain."};
        if (machine_.store.read("/vm/" + config::format_uuid(*config_.uuid) + "/name"))
            throw Error{ExitCode::failed,
                        fmt::format("domain \"{}\": its UUID {} is in use", config_.name,
                                    config::format_uuid(*config_.uuid)),
                        "Remove the line \"uuid\", or destroy the other domain."};
    }

    void check_disks() {
        for (const config::DiskSpec& disk : config_.disks) {
            targets_.push_back(find_block_target(disk.target));
            check_disk_is_free(machine_.store, targets_.back(), disk.is_writable, options_.mounts);
            for (std::size_t i = 0; i + 1 < targets_.size(); ++i)
                if (do_overlap(targets_[i].name, targets_.back().name) &&
                    (disk.is_writable || config_.disks[i].is_writable))
                    throw Error{
                        ExitCode::usage,
                        fmt::format("disk {}: this configuration names it twice, as {} and {}",
                                    disk.target, config_.disks[i].vdev, disk.vdev),
                        "Two virtual disks cannot share a disk while one writes to it."};
        }
    }

    void check_machine() {
        const control::MachineInfo info = machine_.control.machine();
        if (info.free_pages < config_.memory_mib * control::pages_per_mib)
            throw Error{ExitCode::failed,
                        fmt::format("domain \"{}\": it needs {} MiB of memory, {} MiB are free",
                                    config_.name, config_.memory_mib,
                                    info.free_pages / control::pages_per_mib),
                        "Lower \"memory\", or destroy a domain."};
        for (const auto& cpus : config_.cpus) {
            const auto first = std::find(cpus.begin(), cpus.end(), true) - cpus.begin();
            if (first >= static_cast<std::ptrdiff_t>(info.cpus))
                throw Error{
                    ExitCode::usage,
                    fmt::format("domain \"{}\": \"cpus\" names none of this machine's {} CPUs",
                                config_.name, info.cpus),
                    "CPUs are counted from 0."};
        }
        cpus_ = info.cpus;
    }

    void create(const builder::Plan& plan) {
        domain_ = machine_.control.create_domain(*config_.uuid, config_.max_vcpus);
        is_created_ = true;
        machine_.control.set_max_vcpus(domain_, config_.max_vcpus);
        // What it has now is the limit: `cero mem-set` raises it, up to "maxmem".
        machine_.control.set_max_memory(domain_, config_.memory_mib * 1024 + memory_slack_kib);
        machine_.control.set_memory_map(domain_, config_.max_memory_mib * 1024);
        set_affinity();
        if (config_.weight || config_.cap) {
            control::SchedulerParameters parameters = machine_.control.scheduler(domain_);
            parameters.weight = config_.weight.value_or(parameters.weight);
            parameters.cap = config_.cap.value_or(parameters.cap);
            machine_.control.set_scheduler(domain_, parameters);
        }
        write_nodes(); // first, so that the backends get ready while the memory is filled
        const builder::Built built = builder::build(machine_.control, domain_, plan);
        introduce(built);
        std::vector<std::pair<std::string_view, unsigned>> devices;
        for (const config::DiskSpec& disk : config_.disks)
            devices.emplace_back(disk_kind, disk.device_id());
        for (unsigned i = 0; i < config_.vifs.size(); ++i)
            devices.emplace_back(interface_kind, i);
        wait_for_backends(machine_.store, domain_, devices, options_.device_timeout_ms);
        make_directories(state_directory);
        write_file(config_file(domain_), config::to_text(config_));
        if (has_vanished())
            throw Error{ExitCode::failed, "destroyed by somebody else"};
        if (!options_.start_paused)
            machine_.control.unpause(domain_);
    }

    bool has_vanished() {
        const auto info = machine_.control.domain(domain_);
        return !info || (info->flags & CERO_DOMINF_dying) != 0;
    }

    void set_affinity() {
        for (unsigned vcpu = 0; vcpu < config_.max_vcpus && !config_.cpus.empty(); ++vcpu) {
            auto cpus = config_.cpus.size() == 1     ? config_.cpus.front()
                        : vcpu < config_.cpus.size() ? config_.cpus[vcpu]
                                                     : std::vector<bool>{};
            if (cpus.empty())
                continue;
            cpus.resize(cpus_);
            machine_.control.set_affinity(domain_, vcpu, cpus);
        }
    }

    void write_nodes() {
        Requests requests = domain_nodes(domain_, config_);
        for (std::size_t i = 0; i < config_.disks.size(); ++i)
            add_disk_nodes(requests, domain_, config_.disks[i], targets_[i]);
        for (unsigned i = 0; i < config_.vifs.size(); ++i)
            add_interface_nodes(requests, domain_, i, config_.vifs[i]);
        has_nodes_ = true;
        machine_.store.transact([&](std::uint32_t transaction) {
            // A domain of the same number may have left something; and a name may be taken
            // meanwhile.
            if (const auto number = other_of_this_name(transaction))
                throw Error{ExitCode::failed,
                            fmt::format("domain \"{}\": the name was taken by domain {} meanwhile",
                                        config_.name, *number)};
            machine_.store.remove(domain_path(domain_), transaction);
            machine_.store.send_all(requests, transaction);
        });
    }

    void introduce(const builder::Built& built) {
        const std::string home = domain_path(domain_);
        Requests requests;
        write(requests, home + "/store/port", std::to_string(built.store_port));
        write(requests, home + "/store/ring-ref", std::to_string(built.store_frame));
        write(requests, home + "/console/backend-id", "0");
        write(requests, home + "/console/type", "xenconsoled");
        write(requests, home + "/console/output", "pty");
        write(requests, home + "/console/limit", "1048576");
        write(requests, home + "/console/port", std::to_string(built.console_port));
        write(requests, home + "/console/ring-ref", std::to_string(built.console_frame));
        machine_.store.send_all(requests, 0);
        const auto reply = machine_.store.request(
            store::Op::introduce, control::path_payload(std::to_string(domain_)) +
                                      control::path_payload(std::to_string(built.store_frame)) +
                                      control::path_payload(std::to_string(built.store_port)));
        if (!reply)
            throw Error{ExitCode::failed,
                        fmt::format("domain {}: XenStore cannot connect to it: {}", domain_,
                                    errno_text(static_cast<int>(reply.error()))),
                        service_log("cero-store") + " says more."};
    }

    void unwind() noexcept {
        if (!is_created_)
            return;
        try {
            constexpr int unwind_timeout_ms = 5000;
            if (has_nodes_) {
                destroy_domain(machine_, domain_, unwind_timeout_ms);
                machine_.store.remove("/vm/" + config::format_uuid(*config_.uuid));
            } else {
                machine_.control.destroy_domain(domain_);
            }
        } catch (...) { // the first error is the one to report
        }
    }

    Machine& machine_;
    config::DomainConfig config_;
    const CreateOptions& options_;
    std::vector<BlockTarget> targets_;
    cero_domid domain_{};
    unsigned cpus_{};
    bool is_created_{false};
    bool has_nodes_{false};
};

} // namespace

config::MacAddress make_mac(const config::Uuid& uuid, unsigned index) noexcept {
    std::uint32_t hash = 2166136261u; // FNV-1a over the UUID and the index
    const auto mix = [&](std::uint8_t byte) { hash = (hash ^ byte) * 16777619u; };
    for (const std::uint8_t byte : uuid)
        mix(byte);
    mix(static_cast<std::uint8_t>(index));
    return {0x00,
            0x16,
            0x3e,
            static_cast<std::uint8_t>(hash >> 16 & 0x7f),
            static_cast<std::uint8_t>(hash >> 8),
            static_cast<std::uint8_t>(hash)};
}

std::string name_of(StoreClient& store, cero_domid domain) {
    return store.read(domain_path(domain) + "/name").value_or(domain == 0 ? "Domain-0" : "(null)");
}

cero_domid find_domain(Machine& machine, std::string_view name) {
    if (const auto number = domain_number_of(name); number && machine.control.domain(*number))
        return *number;
    for (const std::string& number :
         machine.store.list("/local/domain").value_or(std::vector<std::string>{}))
        if (machine.store.read("/local/domain/" + number + "/name") == name)
            if (const auto domain = domain_number_of(number);
                domain && machine.control.domain(*domain))
                return *domain;
    throw Error{ExitCode::not_found,
                fmt::format("domain \"{}\": there is none of this name or number", name),
                "\"cero list\" shows all domains."};
}

cero_domid create_domain(Machine& machine, config::DomainConfig config,
                         const CreateOptions& options) {
    return Creation{machine, std::move(config), options}.run();
}

void clean_up_after(Machine& machine, cero_domid domain, int timeout_ms,
                    const std::string& last_name) {
    for (const std::string_view kind : {disk_kind, interface_kind})
        for (const Device& device : list_devices(machine.store, kind, domain))
            (void)remove_device(machine.store, domain, kind, device.id, true, timeout_ms);
    const auto vm = machine.store.read(domain_path(domain) + "/vm");
    machine.store.transact([&](std::uint32_t transaction) {
        machine.store.remove(domain_path(domain), transaction);
        if (!last_name.empty())
            machine.store.write(domain_path(domain) + "/name", last_name, transaction);
    });
    if (vm && vm->starts_with("/vm/"))
        machine.store.remove(*vm);
    machine.store.remove(fmt::format("/libxl/{}", domain));
    for (const std::string_view kind : {disk_kind, interface_kind})
        machine.store.remove(fmt::format("/local/domain/0/error/backend/{}/{}", kind, domain));
    ::unlink(config_file(domain).c_str());
}

void destroy_domain(Machine& machine, cero_domid domain, int timeout_ms) {
    if (domain == 0)
        throw Error{ExitCode::usage, "domain 0: the control domain cannot be destroyed",
                    "\"poweroff\" in the control domain stops the machine."};
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000;
    if (machine.control.domain(domain)) {
        try {
            machine.control.pause(domain);
        } catch (const control::HypercallError&) { // it is dying already
        }
        save_console(domain);
        // It is listed until its last frame is free, and the list shows its name.
        const auto name = machine.store.read(domain_path(domain) + "/name");
        clean_up_after(machine, domain, timeout_ms, name.value_or(""));
        machine.control.destroy_domain(domain);
    } else {
        clean_up_after(machine, domain, timeout_ms);
    }
    // Its last frames go when the last backend has let go of them.
    timespec pause{0, 1'000'000};
    while (machine.control.domain(domain)) {
        if (monotonic_ns() >= deadline) {
            machine.store.remove(domain_path(domain)); // others may have the name
            throw Error{
                ExitCode::timed_out,
                fmt::format("domain {}: it is dead, but something still holds frames of it",
                            domain),
                "A backend or a console may still be busy. \"cero list\" shows it as dying (d) "
                "until it is gone."};
        }
        ::nanosleep(&pause, nullptr);
        pause.tv_nsec = std::min(pause.tv_nsec * 2, 50'000'000L);
    }
    machine.store.remove(domain_path(domain));
}

void request_shutdown(Machine& machine, cero_domid domain, const std::string& kind) {
    if (domain == 0)
        throw Error{ExitCode::usage, "domain 0: the control domain cannot be shut down from here",
                    "Use \"poweroff\" or \"reboot\" in it."};
    const auto info = machine.control.domain(domain);
    if (info && (info->flags & CERO_DOMINF_shutdown) != 0)
        throw Error{ExitCode::failed, fmt::format("domain {}: it has shut down already", domain),
                    "\"cero destroy\" removes it."};
    machine.store.write(domain_path(domain) + "/control/shutdown", kind);
}

std::optional<config::DomainConfig> saved_config(cero_domid domain) {
    const std::string path = config_file(domain);
    const auto text = read_file(path);
    if (!text)
        return std::nullopt;
    return config::interpret(config::parse(*text, path), path);
}

void rename_domain(Machine& machine, cero_domid domain, const std::string& name) {
    machine.store.write(domain_path(domain) + "/name", name);
    if (const auto vm = machine.store.read(domain_path(domain) + "/vm"))
        machine.store.write(*vm + "/name", name);
}

} // namespace cero::toolstack
