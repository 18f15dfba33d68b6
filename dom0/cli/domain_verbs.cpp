// SPDX-License-Identifier: BSD-2-Clause
// Verbs about the life of domains: create, destroy, shutdown, reboot, pause, unpause, console ...
#include "base/error.hpp"
#include "cli/arguments.hpp"
#include "config/domain_config.hpp"
#include "console/attach.hpp"
#include "toolstack/core_dump.hpp"
#include "toolstack/domains.hpp"
#include "toolstack/paths.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <unistd.h>

namespace cero::cli {

namespace {

constexpr double default_timeout = 60;

/// A bare name that is not here may be one in the directory of guests.
std::string find_config(const std::string& file) {
    const std::string among_guests = std::string{toolstack::guests_directory} + "/" + file;
    const auto is_there = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
    return !file.contains('/') && !is_there(file) && is_there(among_guests) ? among_guests : file;
}

config::DomainConfig load_config(const std::string& name,
                                 const std::vector<std::string>& overrides) {
    const std::string file = find_config(name);
    const auto text = read_file(file, config::text_max);
    if (!text)
        throw Error{
            ExitCode::not_found,
            fmt::format("configuration {}: {}", file, errno_text(errno != 0 ? errno : EFBIG)),
            "Give the path of a configuration file; cero.cfg(5) says what it holds."};
    std::vector<config::Setting> settings = config::parse(*text, file);
    for (const std::string& text_of_one : overrides)
        settings.push_back(config::parse_override(text_of_one));
    return config::interpret(settings, file);
}

/// Waits until `is_done`, woken by every domain that ends or comes.
template <typename Condition>
bool wait_for_domains(control::StoreClient& store, double seconds, Condition is_done) {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(milliseconds(seconds)) * 1'000'000;
    for (const char* special : {"@releaseDomain", "@introduceDomain"})
        store.watch(special, "wait");
    const auto end = [&](bool done) {
        for (const char* special : {"@releaseDomain", "@introduceDomain"})
            store.unwatch(special, "wait");
        return done;
    };
    constexpr int poll_ms = 500; // an end without an event must not be waited for for ever
    for (;;) {
        if (is_done())
            return end(true);
        const std::uint64_t now = monotonic_ns();
        if (now >= deadline)
            return end(false);
        const auto left = static_cast<int>((deadline - now) / 1'000'000) + 1;
        (void)store.wait(std::min(left, poll_ms));
    }
}

bool is_running(toolstack::Machine& machine, const std::string& name) {
    try {
        const auto info = machine.control.domain(toolstack::find_domain(machine, name));
        return info && (info->flags & CERO_DOMINF_paused) == 0;
    } catch (const Error&) {
        return false;
    }
}

} // namespace

int create_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string file;
    std::vector<std::string> overrides;
    toolstack::CreateOptions options;
    bool attach = false;
    bool quiet = false;
    bool json = false;
    double timeout = device_timeout;
    parser->add_option("FILE", file, "configuration file, see cero.cfg(5)");
    parser->add_option("KEY=VALUE", overrides, "settings that replace those of the file");
    parser->add_option("-f,--defconfig", file, "the same as FILE");
    parser->add_flag("-p,--paused", options.start_paused, "leave the domain paused");
    parser->add_flag("-c,--console", attach, "attach to its console");
    parser->add_flag("-n,--dryrun", options.check_only, "check everything, create nothing");
    parser->add_flag("-q,--quiet", quiet, "print nothing when all is well");
    parser->add_option("--timeout", timeout, "seconds to wait for the devices' backends (10)");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    if (file.empty())
        throw Error{ExitCode::usage, "create: the configuration file is missing",
                    "\"cero create --help\" shows how it is used."};
    options.device_timeout_ms = milliseconds(timeout);
    const config::DomainConfig config = load_config(file, overrides);
    if (!config.disks.empty())
        options.mounts = read_file("/proc/mounts").value_or("");
    toolstack::Machine machine = session.machine();
    const cero_domid domain = toolstack::create_domain(machine, config, options);
    if (json)
        print_json({{"name", config.name}, {"domid", domain}, {"dryrun", options.check_only}});
    else if (!quiet && options.check_only)
        print(fmt::format("Domain {} can be created.\n", config.name));
    else if (!quiet)
        print(fmt::format("Domain {} created with id {}.\n", config.name, domain));
    if (attach && !options.check_only) {
        flush();
        console::attach(std::to_string(domain), std::size_t{1} << 16, -1);
    }
    return 0;
}

int destroy_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::vector<std::string> names;
    double timeout = device_timeout;
    bool force = false;
    parser->add_option("DOMAIN", names, "names or numbers")->required();
    parser->add_flag("-f,--force", force, "accepted as in xl; has no effect");
    parser.timeout_option(timeout, "seconds to wait for backends and for the last frames (10)");
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    for (const std::string& name : names)
        toolstack::destroy_domain(machine, session.find(name), milliseconds(timeout));
    return 0;
}

int shutdown_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::vector<std::string> names;
    bool all = false;
    bool wait = false;
    double timeout = default_timeout;
    parser->add_option("DOMAIN", names, "names or numbers");
    parser->add_flag("-a,--all", all, "all domains but the control domain");
    parser->add_flag("-w,--wait", wait, "wait until it is done");
    parser.timeout_option(timeout, "seconds that --wait waits (60)");
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    std::vector<cero_domid> domains;
    for (const std::string& name : names)
        domains.push_back(session.find(name));
    if (all)
        for (const control::DomainInfo& info : machine.control.domains())
            if (info.domain != 0 && (info.flags & (CERO_DOMINF_dying | CERO_DOMINF_shutdown)) == 0)
                domains.push_back(info.domain);
    if (domains.empty() && !all)
        throw Error{ExitCode::usage, fmt::format("{}: name a domain, or give -a", verb)};
    const bool is_reboot = verb == "reboot";
    std::map<cero_domid, std::string> domain_names;
    for (const cero_domid domain : domains)
        domain_names[domain] = toolstack::name_of(machine.store, domain);
    for (const cero_domid domain : domains)
        toolstack::request_shutdown(machine, domain, is_reboot ? "reboot" : "poweroff");
    if (!wait)
        return 0;
    const auto is_over = [&](cero_domid domain) {
        const auto info = machine.control.domain(domain);
        if (!info) // a reboot is over when the next domain of the name runs
            return !is_reboot || is_running(machine, domain_names[domain]);
        if ((info->flags & CERO_DOMINF_shutdown) == 0)
            return false;
        const auto config = toolstack::saved_config(domain);
        return config &&
               (is_reboot ? config->on_reboot : config->on_poweroff) == config::Action::preserve;
    };
    for (const cero_domid domain : domains)
        if (!wait_for_domains(machine.store, timeout, [&] { return is_over(domain); }))
            throw Error{ExitCode::timed_out,
                        fmt::format("domain {}: it did not {} within {} s", domain,
                                    is_reboot ? "reboot" : "shut down", timeout),
                        "Its kernel may ignore the request; \"cero destroy\" ends it."};
    return 0;
}

int pause_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::vector<std::string> names;
    parser->add_option("DOMAIN", names, "names or numbers")->required();
    if (!parser.parse(arguments))
        return 0;
    for (const std::string& name : names) {
        const cero_domid domain = session.find(name);
        if (domain == 0)
            throw Error{ExitCode::usage,
                        fmt::format("domain 0: the control domain cannot be {}d", verb)};
        if (verb == "pause")
            session.control().pause(domain);
        else
            session.control().unpause(domain);
    }
    return 0;
}

int rename_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain_name;
    std::string name;
    parser.domain_option(domain_name);
    parser->add_option("NAME", name, "the new name")->required();
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    toolstack::rename_domain(machine, session.find(domain_name), name);
    return 0;
}

int dump_core_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string name;
    std::string file;
    bool replace = false;
    bool json = false;
    parser.domain_option(name);
    parser->add_option("FILE", file, "file to write")->required();
    parser->add_flag("-f,--force", replace, "replace an existing file");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    const cero_domid domain = session.find(name);
    const toolstack::CoreDump core = toolstack::dump_core(machine, domain, file, replace);
    if (json)
        print_json({{"domid", domain},
                    {"file", file},
                    {"pages", core.pages},
                    {"mappings", core.mappings},
                    {"vcpus", core.vcpus},
                    {"whole", core.is_whole}});
    else
        print(fmt::format("Core of domain {} written to {}: {} vCPUs, {} MiB{}.\n", domain, file,
                          core.vcpus, core.pages / control::pages_per_mib,
                          core.is_whole ? "" : ", without some of its mappings"));
    return 0;
}

int console_verb(Session&, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain;
    bool history = false;
    std::size_t replay = 1024;
    double timeout = -1;
    parser.domain_option(domain);
    parser->add_flag("--history", history, "print what was kept (up to 64 KiB), do not attach");
    parser->add_option("--replay", replay, "bytes of history to print before (1024)");
    parser.timeout_option(timeout, "leave after so many seconds without output or input");
    if (!parser.parse(arguments))
        return 0;
    if (history)
        console::print_history(domain);
    else
        console::attach(domain, replay, timeout < 0 ? -1 : milliseconds(timeout));
    return 0;
}

int identity_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string wanted;
    bool json = false;
    parser.domain_option(wanted);
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    const cero_domid domain = session.find(wanted);
    const std::string name = toolstack::name_of(session.store(), domain);
    if (json)
        print_json({{"name", name}, {"domid", domain}});
    else
        print(verb == "domid" ? fmt::format("{}\n", domain) : name + "\n");
    return 0;
}

} // namespace cero::cli
