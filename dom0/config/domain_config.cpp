// SPDX-License-Identifier: BSD-2-Clause
// Meaning of each key of a domain's configuration.
#include "config/domain_config.hpp"

#include "base/nearest.hpp"
#include "base/number.hpp"

#include <algorithm>
#include <set>

namespace cero::config {

namespace {

constexpr std::size_t name_max = 64;
constexpr unsigned vcpus_max = 128;
constexpr std::uint64_t memory_max_mib = 16 << 20;
constexpr unsigned weight_max = 65535;

/// Keys that xl has and this toolstack does not: a clear answer instead of "unknown".
const std::set<std::string_view> foreign_keys{
    "acpi",
    "acpi_firmware",
    "acpi_laptop_slate",
    "acpi_s3",
    "acpi_s4",
    "altp2m",
    "apic",
    "argo",
    "bios",
    "bios_path_override",
    "blkdev_start",
    "boot",
    "bootloader",
    "bootloader_args",
    "bootloader_restrict",
    "bootloader_user",
    "channel",
    "claim_mode",
    "console_limit",
    "cpuid",
    "cpus_soft",
    "device_model_args",
    "device_model_override",
    "device_model_version",
    "device_tree",
    "dm_restrict",
    "driver_domain",
    "dtdev",
    "e820_host",
    "event_channels",
    "firmware",
    "firmware_override",
    "gfx_passthru",
    "grant_usage",
    "hap",
    "hdtype",
    "hpet",
    "hvm",
    "init_seclabel",
    "ioemu",
    "iomem",
    "ioports",
    "irqs",
    "keymap",
    "localtime",
    "max_event_channels",
    "max_grant_frames",
    "max_grant_version",
    "max_maptrack_frames",
    "mca_caps",
    "monitor",
    "msr_relaxed",
    "nestedhvm",
    "nic",
    "nodes",
    "nographic",
    "nomigrate",
    "numa_placement",
    "nx",
    "p9",
    "pae",
    "passthrough",
    "pci",
    "pci_msitranslate",
    "pci_permissive",
    "pci_power_mgmt",
    "pci_seize",
    "pool",
    "pvcalls",
    "pvh",
    "pvshim",
    "rdm",
    "rtc_timeoffset",
    "sched",
    "sdl",
    "seclabel",
    "secondary_console",
    "serial",
    "shadow_memory",
    "smbios",
    "smbios_firmware",
    "soundhw",
    "spice",
    "spicehost",
    "spiceport",
    "stdvga",
    "system_firmware",
    "timer_mode",
    "timeoffset",
    "tpm",
    "tsc_mode",
    "uefi",
    "usb",
    "usbctrl",
    "usbdev",
    "usbdevice",
    "vfb",
    "vga",
    "vgaptr",
    "videoram",
    "vif2",
    "viridian",
    "vkb",
    "vmtrace_buf_kb",
    "vnc",
    "vncconsole",
    "vncdisplay",
    "vnclisten",
    "vncpasswd",
    "vncunused",
    "vnuma",
    "vpmu",
    "vpt_align",
    "vsnd",
    "vtpm",
    "vuart",
    "xen_platform_pci",
    "xend_suspend_evtchn_compat",
};

class Interpreter {
public:
    Interpreter(const std::vector<Setting>& settings, const std::string& source)
        : settings_{settings}, source_{source} {}

    DomainConfig run() {
        for (const Setting& setting : settings_)
            note(setting);
        take_all();
        check_whole();
        return std::move(config_);
    }

private:
    [[noreturn]] static void refuse(const Setting& setting, Position at, std::string_view text,
                                    std::string remedy = {}) {
        throw ConfigError{setting.source, at, text, std::move(remedy)};
    }

    static std::string remedy_for_unknown(std::string_view key) {
        constexpr std::string_view all = "cero.cfg(5) lists all settings.";
        const std::vector<std::string_view> keys{known_keys.begin(), known_keys.end()};
        const std::string_view meant = nearest(key, keys);
        return meant.empty() ? std::string{all}
                             : fmt::format("Did you mean \"{}\"? {}", meant, all);
    }

    void note(const Setting& setting) {
        if (foreign_keys.contains(setting.key))
            refuse(setting, setting.at,
                   fmt::format("\"{}\" is a setting of xl that Cero does not support", setting.key),
                   "Remove the line. cero.cfg(5) lists what is supported.");
        if (!known_keys.contains(setting.key))
            refuse(setting, setting.at, fmt::format("unknown setting \"{}\"", setting.key),
                   remedy_for_unknown(setting.key));
        const auto at = last_.find(setting.key);
        if (!setting.append || at == last_.end()) {
            last_[setting.key] = setting;
            return;
        }
        // "+=" appends to a list or to a string.
        Value& before = at->second.value;
        if (auto* list = std::get_if<std::vector<Value>>(&before.content)) {
            if (const auto* more = std::get_if<std::vector<Value>>(&setting.value.content))
                list->insert(list->end(), more->begin(), more->end());
            else
                list->push_back(setting.value);
        } else if (auto* text = std::get_if<std::string>(&before.content);
                   text != nullptr && std::holds_alternative<std::string>(setting.value.content)) {
            *text += std::get<std::string>(setting.value.content);
        } else {
            refuse(setting, setting.value.at,
                   fmt::format("cannot append this to the earlier value of \"{}\"", setting.key));
        }
    }

    const Setting* find(const std::string& key) const {
        const auto at = last_.find(key);
        return at == last_.end() ? nullptr : &at->second;
    }

    static std::string text_of(const Setting& setting) {
        const auto* text = std::get_if<std::string>(&setting.value.content);
        if (text == nullptr)
            refuse(setting, setting.value.at,
                   fmt::format("\"{}\" must be a string in quotes", setting.key));
        return *text;
    }
    void take_text(const std::string& key, std::string& target) const {
        if (const Setting* setting = find(key))
            target = text_of(*setting);
    }
    std::optional<std::uint64_t> take_number(const std::string& key, std::uint64_t lowest,
                                             std::uint64_t highest) const {
        const Setting* setting = find(key);
        if (setting == nullptr)
            return std::nullopt;
        std::int64_t number{};
        if (const auto* given = std::get_if<std::int64_t>(&setting->value.content)) {
            number = *given;
        } else if (const auto* text = std::get_if<std::string>(&setting->value.content)) {
            const auto whole = number_of<std::int64_t>(*text);
            if (!whole)
                refuse(*setting, setting->value.at,
                       fmt::format("\"{}\" must be a number, not \"{}\"", key, *text));
            number = *whole;
        } else {
            refuse(*setting, setting->value.at, fmt::format("\"{}\" must be a number", key));
        }
        if (number < 0 || static_cast<std::uint64_t>(number) < lowest ||
            static_cast<std::uint64_t>(number) > highest)
            refuse(*setting, setting->value.at,
                   fmt::format("\"{}\" is {}; {} to {} is possible", key, number, lowest, highest));
        return static_cast<std::uint64_t>(number);
    }
    void take_action(const std::string& key, Action& target) const {
        const Setting* setting = find(key);
        if (setting == nullptr)
            return;
        const std::string text = text_of(*setting);
        for (const Action action :
             {Action::destroy, Action::restart, Action::rename_restart, Action::preserve,
              Action::coredump_destroy, Action::coredump_restart})
            if (text == action_name(action)) {
                target = action;
                return;
            }
        refuse(*setting, setting->value.at,
               fmt::format("\"{}\" {}", text,
                           text == "soft-reset" ? "is an action of xl that Cero does not support"
                                                : "is no action"),
               "Use destroy, restart, rename-restart, preserve, coredump-destroy or "
               "coredump-restart.");
    }
    /// Calls `take` for each string of a list, and turns its SpecError into a ConfigError.
    template <typename Take>
    void take_list(const std::string& key, bool allows_single, Take take) const {
        const Setting* setting = find(key);
        if (setting == nullptr)
            return;
        const auto one = [&](const Value& value) {
            const auto* text = std::get_if<std::string>(&value.content);
            if (text == nullptr)
                refuse(*setting, value.at,
                       fmt::format("each item of \"{}\" must be a string", key));
            try {
                take(*text);
            } catch (const SpecError& error) {
                refuse(*setting, value.at, error.text);
            }
        };
        if (const auto* list = std::get_if<std::vector<Value>>(&setting->value.content)) {
            for (const Value& value : *list)
                one(value);
        } else if (allows_single && std::holds_alternative<std::string>(setting->value.content)) {
            one(setting->value);
        } else {
            refuse(*setting, setting->value.at,
                   fmt::format("\"{}\" must be a list of strings: {} = [ \"...\" ]", key, key));
        }
    }

    void take_all() {
        take_text("name", config_.name);
        take_text("kernel", config_.kernel);
        take_text("ramdisk", config_.ramdisk);
        if (const Setting* setting = find("uuid")) {
            config_.uuid = parse_uuid(text_of(*setting));
            if (!config_.uuid)
                refuse(*setting, setting->value.at,
                       "\"uuid\" must look like 01234567-89ab-cdef-0123-456789abcdef");
        }
        take_command_line();
        const auto memory = take_number("memory", 1, memory_max_mib);
        config_.memory_mib = memory.value_or(0);
        config_.max_memory_mib =
            take_number("maxmem", 1, memory_max_mib).value_or(config_.memory_mib);
        config_.vcpus = static_cast<unsigned>(take_number("vcpus", 1, vcpus_max).value_or(1));
        config_.max_vcpus =
            static_cast<unsigned>(take_number("maxvcpus", 1, vcpus_max).value_or(config_.vcpus));
        if (config_.max_vcpus < config_.vcpus)
            refuse(*find("maxvcpus"), find("maxvcpus")->value.at,
                   fmt::format("\"maxvcpus\" ({}) is below \"vcpus\" ({})", config_.max_vcpus,
                               config_.vcpus));
        take_cpus();
        if (const auto weight = take_number("cpu_weight", 1, weight_max))
            config_.weight = static_cast<unsigned>(*weight);
        if (const auto cap = take_number("cap", 0, vcpus_max * 100))
            config_.cap = static_cast<unsigned>(*cap);
        take_list("disk", false,
                  [&](const std::string& text) { config_.disks.push_back(parse_disk(text)); });
        take_list("vif", false,
                  [&](const std::string& text) { config_.vifs.push_back(parse_vif(text)); });
        take_action("on_poweroff", config_.on_poweroff);
        take_action("on_reboot", config_.on_reboot);
        take_action("on_crash", config_.on_crash);
        take_action("on_watchdog", config_.on_watchdog);
        take_action("on_soft_reset", config_.on_soft_reset);
        take_text("coredump_dir", config_.core_directory);
        if (const Setting* setting = find("coredump_dir");
            setting != nullptr && !config_.core_directory.starts_with('/'))
            refuse(*setting, setting->value.at,
                   "\"coredump_dir\" must be a whole path: coredump_dir = \"/data/cores\"");
        take_type();
    }

    void take_command_line() {
        std::string root;
        std::string extra;
        take_text("root", root);
        take_text("extra", extra);
        take_text("cmdline", config_.command_line);
        if (const Setting* setting = find("cmdline")) {
            if (!root.empty() || !extra.empty())
                refuse(*setting, setting->at,
                       "\"cmdline\" replaces \"root\" and \"extra\"; give only one");
            return;
        }
        if (!root.empty())
            config_.command_line = "root=" + root;
        if (!extra.empty())
            config_.command_line += (config_.command_line.empty() ? "" : " ") + extra;
    }

    void take_cpus() {
        const Setting* setting = find("cpus");
        if (setting == nullptr)
            return;
        if (const auto* number = std::get_if<std::int64_t>(&setting->value.content)) {
            if (*number < 0 || *number > 4095)
                refuse(*setting, setting->value.at, "\"cpus\" names a CPU that cannot exist");
            std::vector<bool> one(static_cast<std::size_t>(*number) + 1);
            one.back() = true;
            config_.cpus.push_back(std::move(one));
            return;
        }
        take_list("cpus", true,
                  [&](const std::string& text) { config_.cpus.push_back(parse_cpus(text)); });
    }

    void take_type() const {
        if (const Setting* setting = find("type"); setting != nullptr && text_of(*setting) != "pv")
            refuse(*setting, setting->value.at,
                   fmt::format("type \"{}\" is not supported; \"pv\" is the only one",
                               text_of(*setting)));
        if (const Setting* setting = find("builder")) {
            const std::string builder = text_of(*setting);
            if (builder != "generic" && builder != "linux")
                refuse(*setting, setting->value.at,
                       fmt::format("builder \"{}\" is not supported; only PV guests are", builder));
        }
    }

    void check_whole() const {
        const auto missing = [&](const char* key, const char* example) {
            throw ConfigError{source_,
                              {},
                              fmt::format("the setting \"{}\" is missing", key),
                              fmt::format("Add a line like: {}", example)};
        };
        if (config_.name.empty())
            missing("name", "name = \"guest1\"");
        if (config_.kernel.empty())
            missing("kernel", "kernel = \"/boot/cero-kernel\"");
        if (config_.memory_mib == 0)
            missing("memory", "memory = 64");
        check_name(*find("name"));
        if (config_.max_memory_mib < config_.memory_mib)
            refuse(*find("maxmem"), find("maxmem")->value.at,
                   fmt::format("\"maxmem\" ({} MiB) is below \"memory\" ({} MiB)",
                               config_.max_memory_mib, config_.memory_mib));
        std::set<unsigned> devices;
        for (const DiskSpec& disk : config_.disks)
            if (!devices.insert(disk.device_id()).second)
                refuse(*find("disk"), find("disk")->value.at,
                       fmt::format("two disks are called \"{}\"", disk.vdev));
        std::set<MacAddress> macs;
        for (const VifSpec& vif : config_.vifs)
            if (vif.mac && !macs.insert(*vif.mac).second)
                refuse(*find("vif"), find("vif")->value.at,
                       fmt::format("two interfaces have the MAC address {}", format_mac(*vif.mac)));
    }

    static void check_name(const Setting& setting) {
        const std::string name = text_of(setting);
        const bool is_number = name.find_first_not_of("0123456789") == std::string::npos;
        const bool is_plain = std::ranges::all_of(name, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '-' || c == '_' || c == '.' || c == '+';
        });
        if (name.size() > name_max || is_number || !is_plain || name.front() == '-' ||
            name.front() == '.')
            refuse(setting, setting.value.at,
                   fmt::format(
                       "\"{}\" cannot be a domain's name: use letters, digits, - _ . + (at most "
                       "{}), and not digits alone",
                       name, name_max));
    }

    static inline const std::set<std::string_view> known_keys{
        "name",      "kernel",      "ramdisk",     "extra",         "memory",     "maxmem",
        "vcpus",     "maxvcpus",    "cpus",        "disk",          "vif",        "on_crash",
        "on_reboot", "on_poweroff", "on_watchdog", "on_soft_reset", "cpu_weight", "cap",
        "uuid",      "root",        "cmdline",     "type",          "builder",    "coredump_dir",
    };

    const std::vector<Setting>& settings_;
    const std::string& source_;
    std::map<std::string, Setting> last_;
    DomainConfig config_;
};

} // namespace

DomainConfig interpret(const std::vector<Setting>& settings, const std::string& source) {
    return Interpreter{settings, source}.run();
}

} // namespace cero::config
