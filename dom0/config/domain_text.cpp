// SPDX-License-Identifier: BSD-2-Clause
// A domain's configuration as text: names of actions, UUIDs, and the whole in xl.cfg syntax.
#include "config/domain_config.hpp"

#include <fmt/format.h>

#include <charconv>

namespace cero::config {

namespace {

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out + '"';
}

} // namespace

std::string_view action_name(Action action) noexcept {
    switch (action) {
    case Action::destroy:
        return "destroy";
    case Action::restart:
        return "restart";
    case Action::rename_restart:
        return "rename-restart";
    case Action::preserve:
        return "preserve";
    case Action::coredump_destroy:
        return "coredump-destroy";
    case Action::coredump_restart:
        return "coredump-restart";
    }
    return "destroy";
}

std::string format_uuid(const Uuid& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += fmt::format("{:02x}", uuid[i]);
    }
    return text;
}

std::optional<Uuid> parse_uuid(std::string_view text) noexcept {
    Uuid uuid{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (at >= text.size() || text[at] != '-')
                return std::nullopt;
            ++at;
        }
        if (at + 2 > text.size())
            return std::nullopt;
        const auto [stop, error] =
            std::from_chars(text.data() + at, text.data() + at + 2, uuid[i], 16);
        if (error != std::errc{} || stop != text.data() + at + 2)
            return std::nullopt;
        at += 2;
    }
    return at == text.size() ? std::optional{uuid} : std::nullopt;
}

std::string to_text(const DomainConfig& config) {
    std::string out;
    const auto line = [&](std::string_view key, const std::string& value) {
        out += fmt::format("{} = {}\n", key, value);
    };
    line("name", quoted(config.name));
    if (config.uuid)
        line("uuid", quoted(format_uuid(*config.uuid)));
    line("kernel", quoted(config.kernel));
    if (!config.ramdisk.empty())
        line("ramdisk", quoted(config.ramdisk));
    if (!config.command_line.empty())
        line("cmdline", quoted(config.command_line));
    line("memory", std::to_string(config.memory_mib));
    line("maxmem", std::to_string(config.max_memory_mib));
    line("vcpus", std::to_string(config.vcpus));
    line("maxvcpus", std::to_string(config.max_vcpus));
    if (!config.cpus.empty()) {
        std::string list;
        for (const auto& cpus : config.cpus)
            list += quoted(cpus_text(cpus)) + ", ";
        line("cpus",
             config.cpus.size() == 1 ? quoted(cpus_text(config.cpus.front())) : "[ " + list + "]");
    }
    if (config.weight)
        line("cpu_weight", std::to_string(*config.weight));
    if (config.cap)
        line("cap", std::to_string(*config.cap));
    std::string disks;
    for (const DiskSpec& disk : config.disks)
        disks +=
            "\n  " +
            quoted(fmt::format("format=raw,vdev={},access={}{}{},target={}", disk.vdev,
                               disk.is_writable ? "w" : "r",
                               !disk.discard   ? ""
                               : *disk.discard ? ",discard"
                                               : ",no-discard",
                               disk.persistent_grants ? ",persistent-grants" : "", disk.target)) +
            ",";
    if (!disks.empty())
        line("disk", "[" + disks + "\n]");
    std::string vifs;
    for (const VifSpec& vif : config.vifs) {
        std::string spec = "bridge=" + vif.bridge;
        if (vif.mac)
            spec += ",mac=" + format_mac(*vif.mac);
        if (!vif.vifname.empty())
            spec += ",vifname=" + vif.vifname;
        if (!vif.ip.empty())
            spec += ",ip=" + vif.ip;
        if (vif.mtu)
            spec += fmt::format(",mtu={}", *vif.mtu);
        vifs += "\n  " + quoted(spec) + ",";
    }
    if (!vifs.empty())
        line("vif", "[" + vifs + "\n]");
    line("on_poweroff", quoted(action_name(config.on_poweroff)));
    line("on_reboot", quoted(action_name(config.on_reboot)));
    line("on_crash", quoted(action_name(config.on_crash)));
    line("on_watchdog", quoted(action_name(config.on_watchdog)));
    line("on_soft_reset", quoted(action_name(config.on_soft_reset)));
    if (!config.core_directory.empty())
        line("coredump_dir", quoted(config.core_directory));
    return out;
}

} // namespace cero::config
