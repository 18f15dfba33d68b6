// SPDX-License-Identifier: BSD-2-Clause
// DomainConfig: a domain as its configuration file describes it, every key checked.
#pragma once

#include "config/parser.hpp"
#include "config/specs.hpp"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cero::config {

enum class Action {
    destroy,
    restart,
    rename_restart,
    preserve,
    coredump_destroy,
    coredump_restart
};
[[nodiscard]] std::string_view action_name(Action action) noexcept;

using Uuid = std::array<std::uint8_t, 16>;
[[nodiscard]] std::string format_uuid(const Uuid& uuid);
[[nodiscard]] std::optional<Uuid> parse_uuid(std::string_view text) noexcept;

struct DomainConfig {
    std::string name;
    std::optional<Uuid> uuid;
    std::string kernel;
    std::string ramdisk;
    std::string command_line;
    std::uint64_t memory_mib{};
    std::uint64_t max_memory_mib{};
    unsigned vcpus{1};                   ///< online at the start
    unsigned max_vcpus{1};               ///< at least `vcpus`: what `cero vcpu-set` may raise it to
    std::vector<std::vector<bool>> cpus; ///< none, one for all vCPUs, or one per vCPU
    std::optional<unsigned> weight;
    std::optional<unsigned> cap;
    std::vector<DiskSpec> disks;
    std::vector<VifSpec> vifs;
    Action on_poweroff{Action::destroy};
    Action on_reboot{Action::restart};
    Action on_crash{Action::destroy};
    Action on_watchdog{Action::destroy};
    Action on_soft_reset{Action::destroy};
    std::string core_directory; ///< for coredump-*; empty: toolstack::core_directory() decides
};

/// Throws ConfigError for an unknown key, a bad value, or a missing one. Later settings win over
/// earlier ones of the same key. `source` names the configuration in messages about what is
/// missing.
[[nodiscard]] DomainConfig interpret(const std::vector<Setting>& settings,
                                     const std::string& source);

/// The configuration in xl.cfg syntax; interpret(parse(...)) of it gives an equal one.
[[nodiscard]] std::string to_text(const DomainConfig& config);

} // namespace cero::config
