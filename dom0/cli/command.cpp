// SPDX-License-Identifier: BSD-2-Clause
// `cero`: table of verbs, dispatch, help, errors.
#include "cli/command.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/nearest.hpp"

#include <nlohmann/json.hpp>

#include <unistd.h>

namespace cero::cli {

namespace {

constexpr Verb table[] = {
    {"create", "Domains", "[-p] [-c] [-n] [-q] [--json] FILE [KEY=VALUE ...]",
     "create a domain from a configuration file", create_verb},
    {"destroy", "Domains", "[--timeout S] DOMAIN...", "end a domain at once", destroy_verb},
    {"shutdown", "Domains", "[-w] [--timeout S] DOMAIN... | -a", "ask a domain to power off",
     shutdown_verb},
    {"reboot", "Domains", "[-w] [--timeout S] DOMAIN... | -a", "ask a domain to reboot",
     shutdown_verb},
    {"pause", "Domains", "DOMAIN...", "stop a domain's vCPUs", pause_verb},
    {"unpause", "Domains", "DOMAIN...", "let a paused domain run", pause_verb},
    {"rename", "Domains", "DOMAIN NAME", "give a domain another name", rename_verb},
    {"dump-core", "Domains", "[-f] [--json] DOMAIN FILE",
     "write a domain's memory and registers to a file", dump_core_verb},
    {"console", "Domains", "[--history] [--replay BYTES] [--timeout S] DOMAIN",
     "attach to a domain's console (leave with Ctrl-])", console_verb},
    {"list", "Views", "[-v] [--json] [DOMAIN...]", "list the domains", list_verb},
    {"vcpu-list", "Views", "[--json] [DOMAIN...]", "list the vCPUs of domains", vcpu_list_verb},
    {"top", "Views", "[-b] [-d S] [-i N] [--json]", "show what the domains use, again and again",
     top_verb},
    {"uptime", "Views", "[--json] [DOMAIN...]", "show how long domains have run", uptime_verb},
    {"info", "Views", "[--json]", "show the machine and the hypervisor", info_verb},
    {"dmesg", "Views", "[-c] [--json]", "show the hypervisor's log", dmesg_verb},
    {"domid", "Views", "[--json] DOMAIN", "print the number of a domain", identity_verb},
    {"domname", "Views", "[--json] DOMAIN", "print the name of a domain", identity_verb},
    {"check", "Views", "[--json]", "verify that hypervisor, XenStore and devices agree",
     check_verb},
    {"vcpu-set", "Resources", "[-i] [-w] [--timeout S] DOMAIN COUNT",
     "set how many vCPUs are online", vcpu_set_verb},
    {"vcpu-pin", "Resources", "DOMAIN VCPU|all CPUS|all", "set where vCPUs may run", vcpu_pin_verb},
    {"mem-set", "Resources", "[-w] [--timeout S] DOMAIN SIZE", "set how much memory a domain has",
     mem_set_verb},
    {"mem-max", "Resources", "DOMAIN SIZE", "set how much memory a domain may have", mem_set_verb},
    {"block-attach", "Devices", "[--timeout S] DOMAIN DISK", "give a domain a disk",
     block_attach_verb},
    {"block-detach", "Devices", "[-f] [--timeout S] DOMAIN VDEV", "take a disk away",
     device_detach_verb},
    {"block-list", "Devices", "[--json] [DOMAIN...]", "list the disks of domains",
     device_list_verb},
    {"network-attach", "Devices", "[--timeout S] DOMAIN [KEY=VALUE ...]",
     "give a domain a network interface", network_attach_verb},
    {"network-detach", "Devices", "[-f] [--timeout S] DOMAIN INDEX|MAC",
     "take a network interface away", device_detach_verb},
    {"network-list", "Devices", "[--json] [DOMAIN...]", "list the interfaces of domains",
     device_list_verb},
    {"sched", "System", "[--json] [-d DOMAIN [-w WEIGHT] [-c CAP]]",
     "show or set scheduling weights and caps", sched_verb},
    {"store", "System", "[--json] ls|read|write|rm|watch PATH ...", "look into and change XenStore",
     store_verb},
    {"version", "System", "[--json]", "show the versions of tools and hypervisor", version_verb},
};

struct Habit {
    std::string_view verb; ///< of another tool
    std::string_view here;
};

/// Commands of xl and virsh that have another name here, or are options.
constexpr Habit habits[] = {
    {"attach-disk", "block-attach"},
    {"attach-interface", "network-attach"},
    {"define", "create"},
    {"detach-disk", "block-detach"},
    {"detach-interface", "network-detach"},
    {"domblklist", "block-list"},
    {"domiflist", "network-list"},
    {"dominfo", "list --long"},
    {"domrename", "rename"},
    {"domstate", "list"},
    {"dump", "dump-core"},
    {"ls", "list"},
    {"nodeinfo", "info"},
    {"resume", "unpause"},
    {"sched-credit", "sched"},
    {"sched-credit2", "sched"},
    {"schedinfo", "sched"},
    {"setmaxmem", "mem-max"},
    {"setmem", "mem-set"},
    {"setvcpus", "vcpu-set"},
    {"start", "create"},
    {"suspend", "pause"},
    {"vcpuinfo", "vcpu-list"},
    {"vcpupin", "vcpu-pin"},
    {"vm-list", "list"},
    {"xenstore-ls", "store ls"},
};

/// What to try in place of a verb that does not exist.
std::string remedy_for_unknown(std::string_view verb) {
    constexpr std::string_view all = "\"cero help\" lists all commands.";
    for (const Habit& habit : habits)
        if (habit.verb == verb)
            return fmt::format("Here it is \"cero {}\". {}", habit.here, all);
    std::vector<std::string_view> names;
    for (const Verb& known : table)
        names.push_back(known.name);
    const std::string_view meant = nearest(verb, names);
    return meant.empty() ? std::string{all}
                         : fmt::format("Did you mean \"cero {}\"? {}", meant, all);
}

std::string pending_output;

int help(std::string_view verb) {
    if (!verb.empty()) {
        for (const Verb& known : table)
            if (known.name == verb) {
                Session session;
                std::string flag = "--help";
                char* arguments[] = {flag.data()};
                return known.main(session, std::string{verb}, Arguments{arguments});
            }
        throw Error{ExitCode::usage, fmt::format("help: unknown command \"{}\"", verb),
                    remedy_for_unknown(verb)};
    }
    print("Usage: cero COMMAND [ARGUMENTS]\nManages the domains of this machine.\n");
    std::string_view group;
    for (const Verb& known : table) {
        if (known.group != group) {
            group = known.group;
            print(fmt::format("\n{}\n", group));
        }
        print(fmt::format("  {:<16}{}\n", known.name, known.summary));
    }
    print(
        "\n\"cero help COMMAND\" explains one; cero(8) and cero.cfg(5) are the manual.\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 4 timed out,\n"
        "5 not a control domain or its services do not run.\n");
    return 0;
}

int dispatch(int argc, char** argv) {
    if (argc < 2) {
        help({});
        return static_cast<int>(ExitCode::usage);
    }
    const std::string verb = argv[1];
    if (verb == "help" || verb == "--help" || verb == "-h")
        return help(argc > 2 ? argv[2] : std::string_view{});
    const std::string known_as = verb == "--version" ? "version" : verb;
    for (const Verb& known : table)
        if (known.name == known_as) {
            Session session;
            return known.main(session, known_as,
                              Arguments{argv + 2, static_cast<std::size_t>(argc - 2)});
        }
    throw Error{ExitCode::usage, fmt::format("unknown command \"{}\"", verb),
                remedy_for_unknown(verb)};
}

} // namespace

std::span<const Verb> verbs() noexcept {
    return table;
}

control::DomainControl& Session::control() {
    if (!control_)
        control_ = control::open_domain_control();
    return *control_;
}

control::StoreClient& Session::store() {
    if (!store_)
        store_ = control::StoreClient::open();
    return *store_;
}

cero_domid Session::find(std::string_view name) {
    toolstack::Machine all = machine();
    return toolstack::find_domain(all, name);
}

void print(std::string_view text) {
    constexpr std::size_t enough = 16384;
    pending_output += text;
    if (pending_output.size() >= enough)
        flush();
}

void flush() {
    (void)write_all(1, pending_output);
    pending_output.clear();
}

void print_json(const nlohmann::json& value) {
    print(value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    print("\n");
}

int command_main(int argc, char** argv) {
    int status = 0;
    try {
        status = dispatch(argc, argv);
    } catch (const Error& error) {
        flush();
        std::string text = fmt::format("cero: {}\n", error.what());
        if (!error.remedy().empty())
            text += fmt::format("  {}\n", error.remedy());
        (void)write_all(2, text);
        return static_cast<int>(error.code());
    }
    flush();
    return status;
}

} // namespace cero::cli
