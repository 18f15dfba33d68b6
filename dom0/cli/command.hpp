// SPDX-License-Identifier: BSD-2-Clause
// Command: what the verbs of `cero` share: their table, their connections, their output helpers.
#pragma once

#include "control/domain_control.hpp"
#include "control/store_client.hpp"
#include "toolstack/domains.hpp"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cero::cli {

/// Connections, opened when they are first used.
class Session {
public:
    control::DomainControl& control();
    control::StoreClient& store();
    toolstack::Machine machine() { return {control(), store()}; }
    [[nodiscard]] cero_domid find(std::string_view name);

private:
    std::unique_ptr<control::DomainControl> control_;
    std::optional<control::StoreClient> store_;
};

using Arguments = std::span<char*>;
using VerbMain = int (*)(Session& session, const std::string& verb, Arguments arguments);

struct Verb {
    std::string_view name;
    std::string_view group;
    std::string_view synopsis;
    std::string_view summary;
    VerbMain main;
};

[[nodiscard]] std::span<const Verb> verbs() noexcept;

/// Text to standard output; buffered until the end of the program.
void print(std::string_view text);
/// Pretty-printed JSON and a newline.
void print_json(const nlohmann::json& value);
/// Gives everything printed so far to the terminal.
void flush();

int create_verb(Session&, const std::string&, Arguments);
int destroy_verb(Session&, const std::string&, Arguments);
int shutdown_verb(Session&, const std::string&, Arguments); ///< shutdown and reboot
int pause_verb(Session&, const std::string&, Arguments);    ///< pause and unpause
int rename_verb(Session&, const std::string&, Arguments);
int list_verb(Session&, const std::string&, Arguments);
int vcpu_list_verb(Session&, const std::string&, Arguments);
int info_verb(Session&, const std::string&, Arguments);
int top_verb(Session&, const std::string&, Arguments);
int uptime_verb(Session&, const std::string&, Arguments);
int dmesg_verb(Session&, const std::string&, Arguments);
int console_verb(Session&, const std::string&, Arguments);
int check_verb(Session&, const std::string&, Arguments);
int block_attach_verb(Session&, const std::string&, Arguments);
int network_attach_verb(Session&, const std::string&, Arguments);
int device_detach_verb(Session&, const std::string&, Arguments); ///< block- and network-detach
int device_list_verb(Session&, const std::string&, Arguments);   ///< block- and network-list
int vcpu_set_verb(Session&, const std::string&, Arguments);
int vcpu_pin_verb(Session&, const std::string&, Arguments);
int mem_set_verb(Session&, const std::string&, Arguments); ///< mem-set and mem-max
int dump_core_verb(Session&, const std::string&, Arguments);
int sched_verb(Session&, const std::string&, Arguments);
int store_verb(Session&, const std::string&, Arguments);
int identity_verb(Session&, const std::string&, Arguments); ///< domid and domname
int version_verb(Session&, const std::string&, Arguments);

/// Program entry of `cero`.
int command_main(int argc, char** argv);

} // namespace cero::cli
