// SPDX-License-Identifier: BSD-2-Clause
// Parsing of disk, vif and cpus specifications by libxl's rules.
#include "config/specs.hpp"

#include "base/number.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cero::config {

namespace {

std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

constexpr unsigned xvd_major = 202;
constexpr unsigned xvd_extended = 1 << 28;
constexpr unsigned disks_max = 26 * 27;

class DiskParser {
public:
    explicit DiskParser(std::string_view text) : rest_{text} {}

    DiskSpec parse() {
        take_prefix();
        while (!rest_.empty() || is_first_) {
            is_first_ = false;
            const std::string_view trimmed = trim(rest_);
            if (trimmed.starts_with("target=")) { // by rule the last, since a path may hold commas
                set_target(trimmed.substr(7));
                break;
            }
            const std::size_t comma = rest_.find(',');
            const std::string_view item = trim(rest_.substr(0, comma));
            rest_ = comma == std::string_view::npos ? std::string_view{} : rest_.substr(comma + 1);
            take(item);
        }
        if (spec_.target.empty())
            throw SpecError{"the disk names no target device; write \"/dev/vda1,raw,xvda,w\""};
        if (spec_.vdev.empty())
            throw SpecError{
                "the disk names no virtual device (vdev); write \"/dev/vda1,raw,xvda,w\""};
        return spec_;
    }

private:
    void take_prefix() {
        for (const std::string_view prefix : {"phy:", "raw:"})
            if (rest_.starts_with(prefix)) {
                rest_.remove_prefix(prefix.size());
                has_prefix_ = true;
                return;
            }
        for (const std::string_view prefix :
             {"file:", "tap:", "tap2:", "aio:", "qcow:", "qcow2:", "vhd:", "qed:"})
            if (rest_.starts_with(prefix))
                throw SpecError{
                    fmt::format("\"{}\" disks are not supported; give a block device of the "
                                "control domain, like phy:/dev/vda1",
                                prefix)};
    }

    void set_target(std::string_view target) {
        if (!spec_.target.empty())
            throw SpecError{"the disk names two targets"};
        if (target.empty())
            throw SpecError{"the target of the disk is empty"};
        spec_.target = target;
    }
    void set_format(std::string_view format) {
        has_format_ = true;
        if (format != "raw" && !format.empty())
            throw SpecError{fmt::format("disk format \"{}\" is not supported; \"raw\" is", format)};
    }
    void set_vdev(std::string_view vdev) {
        if (!device_id_of(vdev))
            throw SpecError{fmt::format("\"{}\" is no virtual device; use xvda, xvdb1, ...", vdev)};
        spec_.vdev = vdev;
    }
    void set_access(std::string_view access) {
        has_access_ = true;
        if (access == "w" || access == "rw")
            spec_.is_writable = true;
        else if (access == "r" || access == "ro")
            spec_.is_writable = false;
        else
            throw SpecError{fmt::format("disk access \"{}\" is none of r, ro, w, rw", access)};
    }

    void take(std::string_view item) {
        const std::size_t equals = item.find('=');
        if (equals != std::string_view::npos && !(item.starts_with('/') && spec_.target.empty())) {
            take_key(item.substr(0, equals), item.substr(equals + 1));
            return;
        }
        if (item == "discard" || item == "no-discard") {
            spec_.discard = item == "discard";
        } else if (item == "persistent-grants") {
            spec_.persistent_grants = true;
        } else if (item == "cdrom" || item == "devtype=cdrom") {
            throw SpecError{"CD-ROM drives are not supported; attach the disk with access \"r\""};
        } else if (item == "direct-io-safe") {
            return;
        } else if (spec_.target.empty()) {
            set_target(item);
        } else if (!has_format_ && !has_prefix_) {
            set_format(item);
        } else if (spec_.vdev.empty()) {
            set_vdev(item);
        } else if (!has_access_) {
            set_access(item);
        } else {
            throw SpecError{fmt::format("unexpected \"{}\" in the disk", item)};
        }
    }

    void take_key(std::string_view key, std::string_view value) {
        if (key == "format")
            set_format(value);
        else if (key == "vdev")
            set_vdev(value);
        else if (key == "access")
            set_access(value);
        else if (key == "devtype" && value == "disk")
            return;
        else if (key == "backendtype" && value == "phy")
            return;
        else if (key == "backend" && (value == "0" || value == "Domain-0"))
            return;
        else if (key == "devtype" || key == "backendtype" || key == "backend" || key == "script" ||
                 key == "colo" || key == "specification" || key == "transport")
            throw SpecError{
                fmt::format("\"{}={}\" is known to xl, but not supported here", key, value)};
        else
            throw SpecError{fmt::format("unknown key \"{}\" in the disk", key)};
    }

    std::string_view rest_;
    DiskSpec spec_;
    bool is_first_{true};
    bool has_prefix_{false};
    bool has_format_{false};
    bool has_access_{false};
};

} // namespace

std::optional<unsigned> device_id_of(std::string_view vdev) noexcept {
    if (const auto number = number_of<unsigned>(vdev))
        return *number != 0 ? number : std::nullopt;
    if (!vdev.starts_with("xvd"))
        return std::nullopt;
    vdev.remove_prefix(3);
    unsigned disk = 0;
    std::size_t letters = 0;
    while (!vdev.empty() && vdev.front() >= 'a' && vdev.front() <= 'z' && letters < 2) {
        disk = letters == 0 ? static_cast<unsigned>(vdev.front() - 'a')
                            : (disk + 1) * 26 + static_cast<unsigned>(vdev.front() - 'a');
        vdev.remove_prefix(1);
        ++letters;
    }
    unsigned partition = 0;
    if (letters == 0 || disk >= disks_max)
        return std::nullopt;
    if (!vdev.empty()) {
        const auto number = number_of<unsigned>(vdev);
        if (!number || *number == 0 || *number > 255 || vdev.front() == '0')
            return std::nullopt;
        partition = *number;
    }
    if (disk < 16 && partition < 16)
        return xvd_major << 8 | disk << 4 | partition;
    return xvd_extended | disk << 8 | partition;
}

std::string vdev_of(unsigned device_id) {
    unsigned disk = 0;
    unsigned partition = 0;
    if ((device_id & xvd_extended) != 0) {
        disk = (device_id & ~xvd_extended) >> 8;
        partition = device_id & 0xff;
    } else if (device_id >> 8 == xvd_major) {
        disk = device_id >> 4 & 0xf;
        partition = device_id & 0xf;
    } else {
        return std::to_string(device_id);
    }
    std::string name = "xvd";
    if (disk >= 26)
        name += static_cast<char>('a' + disk / 26 - 1);
    name += static_cast<char>('a' + disk % 26);
    if (partition != 0)
        name += std::to_string(partition);
    return name;
}

unsigned DiskSpec::device_id() const {
    return device_id_of(vdev).value_or(0);
}

DiskSpec parse_disk(std::string_view text) {
    return DiskParser{trim(text)}.parse();
}

std::optional<MacAddress> parse_mac(std::string_view text) noexcept {
    MacAddress mac{};
    if (text.size() != 17)
        return std::nullopt;
    for (std::size_t i = 0; i < mac.size(); ++i) {
        const char* const at = text.data() + i * 3;
        const auto [stop, error] = std::from_chars(at, at + 2, mac[i], 16);
        if (error != std::errc{} || stop != at + 2 || (i < 5 && at[2] != ':'))
            return std::nullopt;
    }
    if ((mac[0] & 1) != 0 || mac == MacAddress{}) // a group address cannot be an interface's own
        return std::nullopt;
    return mac;
}

std::string format_mac(const MacAddress& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

VifSpec parse_vif(std::string_view text) {
    VifSpec spec;
    text = trim(text);
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        const std::string_view item = trim(text.substr(0, comma));
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        if (item.empty())
            continue;
        const std::size_t equals = item.find('=');
        const std::string_view key = trim(item.substr(0, equals));
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view{} : trim(item.substr(equals + 1));
        if (equals == std::string_view::npos)
            throw SpecError{fmt::format("\"{}\" in the interface: expected key=value", item)};
        if (key == "mac") {
            spec.mac = parse_mac(value);
            if (!spec.mac)
                throw SpecError{fmt::format("\"{}\" is no MAC address of an interface; write "
                                            "00:16:3e:xx:xx:xx",
                                            value)};
        } else if (key == "bridge") {
            if (value.empty())
                throw SpecError{"the bridge of the interface has no name"};
            spec.bridge = value;
        } else if (key == "vifname") {
            spec.vifname = value;
        } else if (key == "ip") {
            spec.ip = value;
        } else if (key == "mtu") {
            spec.mtu = number_of<unsigned>(value);
            if (!spec.mtu || *spec.mtu < 68 || *spec.mtu > 65535)
                throw SpecError{fmt::format("\"{}\" is no MTU; 68 to 65535 is possible", value)};
        } else if (key == "type" && value == "vif") {
            continue;
        } else if (key == "backend" && (value == "0" || value == "Domain-0")) {
            continue;
        } else if (key == "type" || key == "model" || key == "rate" || key == "script" ||
                   key == "backend" || key == "devid" || key == "gatewaydev" || key == "trusted" ||
                   key == "accel" || key == "netdev") {
            throw SpecError{
                fmt::format("\"{}\" of an interface is known to xl, but not supported here", item)};
        } else {
            throw SpecError{fmt::format("unknown key \"{}\" in the interface", key)};
        }
    }
    return spec;
}

std::vector<bool> parse_cpus(std::string_view text) {
    constexpr unsigned cpus_max = 4096;
    std::vector<bool> cpus;
    const auto set = [&](unsigned first, unsigned last, bool value) {
        if (cpus.size() <= last)
            cpus.resize(last + 1);
        for (unsigned cpu = first; cpu <= last; ++cpu)
            cpus[cpu] = value;
    };
    text = trim(text);
    if (text.empty())
        throw SpecError{"the list of CPUs is empty"};
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        std::string_view item = trim(text.substr(0, comma));
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        const bool excludes = item.starts_with('^');
        if (excludes)
            item.remove_prefix(1);
        if (item == "all") {
            set(0, cpus_max - 1, !excludes);
            continue;
        }
        const std::size_t dash = item.find('-');
        const auto first = number_of<unsigned>(item.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : number_of<unsigned>(item.substr(dash + 1));
        if (!first || !last || *last < *first || *last >= cpus_max)
            throw SpecError{
                fmt::format("\"{}\" is no CPU and no range of CPUs; write \"0-3,^2\"", item)};
        set(*first, *last, !excludes);
    }
    if (std::find(cpus.begin(), cpus.end(), true) == cpus.end())
        throw SpecError{"the list of CPUs leaves none"};
    return cpus;
}

std::string cpus_text(const std::vector<bool>& cpus) {
    if (std::find(cpus.begin(), cpus.end(), false) == cpus.end())
        return "all";
    std::string text;
    for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) {
        if (!cpus[cpu])
            continue;
        std::size_t last = cpu;
        while (last + 1 < cpus.size() && cpus[last + 1])
            ++last;
        text += fmt::format("{}{}", text.empty() ? "" : ",", cpu);
        if (last != cpu)
            text += fmt::format("-{}", last);
        cpu = last;
    }
    return text;
}

} // namespace cero::config
