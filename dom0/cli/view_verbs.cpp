// SPDX-License-Identifier: BSD-2-Clause
// Verbs that show: list, vcpu-list, info, top, uptime, dmesg, version, sched.
#include "base/error.hpp"
#include "cli/listing.hpp"
#include "config/domain_config.hpp"
#include "toolstack/domains.hpp"
#include "toolstack/paths.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <ctime>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef CERO_VERSION
#define CERO_VERSION "0"
#endif

namespace cero::cli {

namespace {

using control::DomainInfo;

constexpr double ns_per_second = 1e9;

std::vector<DomainInfo> selected(Session& session, const std::vector<std::string>& names) {
    std::vector<DomainInfo> infos;
    if (names.empty())
        return session.control().domains();
    for (const std::string& name : names)
        if (const auto info = session.control().domain(session.find(name)))
            infos.push_back(*info);
    return infos;
}

unsigned shutdown_reason(const DomainInfo& info) noexcept {
    return info.flags >> CERO_DOMINF_shutdownshift & CERO_DOMINF_shutdownmask;
}

bool has_crashed(const DomainInfo& info) noexcept {
    return (info.flags & CERO_DOMINF_shutdown) != 0 &&
           shutdown_reason(info) == static_cast<unsigned>(control::ShutdownReason::crash);
}

/// "r-----": running, blocked, paused, shut down, crashed, dying.
std::string state_letters(const DomainInfo& info) {
    std::string letters = "------";
    const auto set = [&](std::size_t at, std::uint32_t flag, char letter) {
        if ((info.flags & flag) != 0)
            letters[at] = letter;
    };
    set(0, CERO_DOMINF_running, 'r');
    set(1, CERO_DOMINF_blocked, 'b');
    set(2, CERO_DOMINF_paused, 'p');
    set(3, CERO_DOMINF_shutdown, 's');
    if (has_crashed(info))
        letters[4] = 'c';
    set(5, CERO_DOMINF_dying, 'd');
    return letters;
}

config::Uuid uuid_of(const DomainInfo& info) {
    config::Uuid uuid{};
    std::copy(std::begin(info.handle), std::end(info.handle), uuid.begin());
    return uuid;
}

nlohmann::json domain_json(Session& session, const DomainInfo& info) {
    nlohmann::json entry{{"name", toolstack::name_of(session.store(), info.domain)},
                         {"domid", info.domain},
                         {"uuid", config::format_uuid(uuid_of(info))},
                         {"memory_mib", info.tot_pages / control::pages_per_mib},
                         {"memory_pages", info.tot_pages},
                         {"max_memory_pages", info.max_pages},
                         {"vcpus", info.nr_online_vcpus},
                         {"state", state_letters(info)},
                         {"cpu_time_ns", info.cpu_time}};
    if ((info.flags & CERO_DOMINF_shutdown) != 0)
        entry["shutdown_reason"] = control::shutdown_reason_name(shutdown_reason(info));
    return entry;
}

std::string duration_text(std::uint64_t seconds) {
    const std::uint64_t days = seconds / 86400;
    const std::string time =
        fmt::format("{:2}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if (days == 0)
        return time;
    return fmt::format("{} day{}, {}", days, days == 1 ? "" : "s", time);
}

std::optional<std::uint64_t> uptime_of(Session& session, cero_domid domain) {
    if (domain == 0) {
        const std::string text = read_file("/proc/uptime").value_or("");
        std::uint64_t seconds = 0;
        if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec != std::errc{})
            return std::nullopt;
        return seconds;
    }
    const auto vm = session.store().read(toolstack::domain_path(domain) + "/vm");
    const auto start = vm ? session.store().read(*vm + "/start_time") : std::nullopt;
    std::time_t began = 0;
    if (!start ||
        std::from_chars(start->data(), start->data() + start->size(), began).ec != std::errc{})
        return std::nullopt;
    return static_cast<std::uint64_t>(std::max<std::time_t>(0, std::time(nullptr) - began));
}

} // namespace

int list_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::vector<std::string> names;
    bool json = false;
    bool verbose = false;
    parser->add_option("DOMAIN", names, "names or numbers; all without");
    parser->add_flag("-v,--verbose", verbose, "also show UUIDs and reasons of shutdown");
    parser->add_flag("-l,--long", json, "the same as --json");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    const std::vector<DomainInfo> infos = selected(session, names);
    if (json) {
        nlohmann::json list = nlohmann::json::array();
        for (const DomainInfo& info : infos)
            list.push_back(domain_json(session, info));
        print_json(list);
        return 0;
    }
    print(fmt::format("{:<40} {:>5} {:>5} {:>5}\tState\tTime(s)", "Name", "ID", "Mem", "VCPUs"));
    print(verbose ? fmt::format("   {:<36}     Reason-Code\tSecurity Label\n", "UUID") : "\n");
    for (const DomainInfo& info : infos) {
        print(fmt::format("{:<40} {:>5} {:>5} {:>5}     {}  {:>8.1f}",
                          toolstack::name_of(session.store(), info.domain), info.domain,
                          (info.tot_pages + info.outstanding_pages) / control::pages_per_mib,
                          info.nr_online_vcpus, state_letters(info),
                          static_cast<double>(info.cpu_time) / ns_per_second));
        if (verbose)
            print(fmt::format("   {} {:>15}\t{:>14}", config::format_uuid(uuid_of(info)),
                              (info.flags & CERO_DOMINF_shutdown) != 0
                                  ? control::shutdown_reason_name(shutdown_reason(info))
                                  : "-",
                              "-"));
        print("\n");
    }
    return 0;
}

int vcpu_list_verb(Session& session, const std::string& verb, Arguments arguments) {
    const auto asked = parse_list(verb, arguments);
    if (!asked)
        return 0;
    Listing listing{asked->json,
                    fmt::format("{:<32} {:>5} {:>5} {:>5}   {} {:>9} Affinity (Hard / Soft)\n",
                                "Name", "ID", "VCPU", "CPU", "State", "Time(s)")};
    for (const DomainInfo& info : selected(session, asked->names)) {
        const std::string name = toolstack::name_of(session.store(), info.domain);
        for (unsigned id = 0; info.max_vcpu_id != ~0u && id <= info.max_vcpu_id; ++id) {
            const auto vcpu = session.control().vcpu(info.domain, id);
            if (!vcpu)
                continue;
            const std::string state =
                fmt::format("{}{}-", vcpu->is_running ? 'r' : '-', vcpu->is_blocked ? 'b' : '-');
            const std::string affinity =
                config::cpus_text(session.control().affinity(info.domain, id));
            listing.add(
                {{"name", name},
                 {"domid", info.domain},
                 {"vcpu", id},
                 {"cpu", vcpu->cpu},
                 {"online", vcpu->is_online},
                 {"state", state},
                 {"cpu_time_ns", vcpu->cpu_time_ns},
                 {"hard_affinity", affinity}},
                fmt::format("{:<32} {:>5} {:>5} {:>5}   {:<5} {:>9.1f} {} / all\n", name,
                            info.domain, id, vcpu->is_online ? std::to_string(vcpu->cpu) : "-",
                            vcpu->is_online ? state : "--p",
                            static_cast<double>(vcpu->cpu_time_ns) / ns_per_second, affinity));
        }
    }
    return listing.end();
}

int info_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    bool json = false;
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    utsname names{};
    ::uname(&names);
    const control::MachineInfo machine = session.control().machine();
    const control::VersionInfo version = session.control().version();
    const std::vector<std::pair<std::string, std::string>> texts{{"host", names.nodename},
                                                                 {"release", names.release},
                                                                 {"version", names.version},
                                                                 {"machine", names.machine}};
    const std::vector<std::pair<std::string, std::uint64_t>> numbers{
        {"nr_cpus", machine.cpus},
        {"nr_nodes", machine.nodes},
        {"cores_per_socket", machine.cores_per_socket},
        {"threads_per_core", machine.threads_per_core},
        {"cpu_mhz", machine.cpu_khz / 1000},
        {"total_memory", machine.total_pages / control::pages_per_mib},
        {"free_memory", machine.free_pages / control::pages_per_mib},
        {"total_pages", machine.total_pages},
        {"free_pages", machine.free_pages},
        {"xen_major", version.major},
        {"xen_minor", version.minor}};
    const std::vector<std::pair<std::string, std::string>> more{
        {"xen_extra", version.extra},
        {"xen_version", fmt::format("{}.{}{}", version.major, version.minor, version.extra)},
        {"xen_caps", version.capabilities},
        {"xen_pagesize", "4096"},
        {"xen_changeset", version.changeset},
        {"cc_compiler", version.compiler},
        {"cc_compile_by", version.compile_by},
        {"cc_compile_date", version.compile_date},
        {"tools_version", CERO_VERSION}};
    nlohmann::json all;
    const auto show = [&](const auto& pairs) {
        for (const auto& [key, value] : pairs) {
            if (json)
                all[key] = value;
            else
                print(fmt::format("{:<23}: {}\n", key, value));
        }
    };
    show(texts);
    show(numbers);
    show(more);
    if (json)
        print_json(all);
    return 0;
}

int top_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    bool batch = ::isatty(1) == 0;
    double delay = 3;
    unsigned iterations = 0;
    bool json = false;
    parser->add_flag("-b,--batch", batch, "print one block below the other");
    parser->add_option("-d,--delay", delay, "seconds between two blocks (3)")
        ->check(CLI::Range(0.1, 3600.0));
    parser->add_option("-i,--iterations", iterations, "end after so many blocks (0: never)");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    std::map<cero_domid, std::uint64_t> before;
    std::uint64_t before_ns = monotonic_ns();
    for (const DomainInfo& info : session.control().domains())
        before[info.domain] = info.cpu_time;
    if (json && iterations == 0)
        iterations = 1;
    for (unsigned round = 1;; ++round) {
        pollfd key{::isatty(0) != 0 ? 0 : -1, POLLIN, 0};
        if (::poll(&key, 1, static_cast<int>(delay * 1000)) > 0) {
            char pressed = 0;
            if (::read(0, &pressed, 1) <= 0 || pressed == 'q')
                return 0;
        }
        const std::vector<DomainInfo> infos = session.control().domains();
        const std::uint64_t now_ns = monotonic_ns();
        const double elapsed = static_cast<double>(std::max<std::uint64_t>(now_ns - before_ns, 1));
        const control::MachineInfo machine = session.control().machine();
        nlohmann::json list = nlohmann::json::array();
        if (!json) {
            print(batch ? "" : "\x1b[H\x1b[2J");
            print(fmt::format(
                "cerotop   {} domains   Mem: {}M total, {}M free   CPUs: {} @ {}MHz\n",
                infos.size(), machine.total_pages / control::pages_per_mib,
                machine.free_pages / control::pages_per_mib, machine.cpus, machine.cpu_khz / 1000));
            print(fmt::format("{:<24} {:>6} {:>10} {:>7} {:>10} {:>6} {:>6}\n", "NAME", "STATE",
                              "CPU(sec)", "CPU(%)", "MEM(k)", "MEM(%)", "VCPUS"));
        }
        for (const DomainInfo& info : infos) {
            const std::uint64_t last = before.contains(info.domain) ? before[info.domain] : 0;
            const double share = info.cpu_time >= last
                                     ? static_cast<double>(info.cpu_time - last) / elapsed * 100
                                     : 0;
            const double memory_share = machine.total_pages == 0
                                            ? 0
                                            : static_cast<double>(info.tot_pages) /
                                                  static_cast<double>(machine.total_pages) * 100;
            if (json) {
                nlohmann::json entry = domain_json(session, info);
                entry["cpu_percent"] = std::round(share * 10) / 10;
                entry["memory_percent"] = std::round(memory_share * 10) / 10;
                list.push_back(std::move(entry));
            } else {
                print(fmt::format("{:<24} {:>6} {:>10.0f} {:>7.1f} {:>10} {:>6.1f} {:>6}\n",
                                  toolstack::name_of(session.store(), info.domain),
                                  state_letters(info),
                                  static_cast<double>(info.cpu_time) / ns_per_second, share,
                                  info.tot_pages * 4, memory_share, info.nr_online_vcpus));
            }
            before[info.domain] = info.cpu_time;
        }
        before_ns = now_ns;
        if (json)
            print_json(list);
        flush();
        if (iterations != 0 && round >= iterations)
            return 0;
    }
}

int uptime_verb(Session& session, const std::string& verb, Arguments arguments) {
    const auto asked = parse_list(verb, arguments);
    if (!asked)
        return 0;
    Listing listing{asked->json, fmt::format("{:<33} {:>4} {}\n", "Name", "ID", "Uptime")};
    for (const DomainInfo& info : selected(session, asked->names)) {
        const std::string name = toolstack::name_of(session.store(), info.domain);
        const auto seconds = uptime_of(session, info.domain);
        listing.add({{"name", name}, {"domid", info.domain}, {"uptime_s", seconds.value_or(0)}},
                    fmt::format("{:<33} {:>4} {}\n", name, info.domain,
                                seconds ? duration_text(*seconds) : "-"));
    }
    return listing.end();
}

int dmesg_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    bool clear = false;
    bool json = false;
    parser->add_flag("-c,--clear", clear, "empty the log afterwards");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    const std::string text = session.control().log_text(clear);
    if (!json) {
        print(text);
        return 0;
    }
    nlohmann::json lines = nlohmann::json::array();
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        lines.push_back(line);
    }
    print_json(lines);
    return 0;
}

int sched_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string domain_name;
    std::optional<unsigned> weight;
    std::optional<unsigned> cap;
    bool json = false;
    parser->add_option("-d,--domain", domain_name, "name or number; all without");
    parser->add_option("-w,--weight", weight, "share of the CPUs relative to others (1 to 65535)")
        ->check(CLI::Range(1, 65535));
    parser->add_option("-c,--cap", cap, "most that it may use, in per cent of a CPU (0: no limit)")
        ->check(CLI::Range(0, 65535));
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    if (weight || cap) {
        if (domain_name.empty())
            throw Error{ExitCode::usage, "sched: name the domain with -d to set something"};
        const cero_domid domain = session.find(domain_name);
        control::SchedulerParameters parameters = session.control().scheduler(domain);
        parameters.weight = weight.value_or(parameters.weight);
        parameters.cap = cap.value_or(parameters.cap);
        session.control().set_scheduler(domain, parameters);
        return 0;
    }
    std::vector<std::string> names;
    if (!domain_name.empty())
        names.push_back(domain_name);
    Listing listing{json, fmt::format("{:<33} {:>4} {:>6} {:>4}\n", "Name", "ID", "Weight", "Cap")};
    for (const DomainInfo& info : selected(session, names)) {
        const control::SchedulerParameters parameters = session.control().scheduler(info.domain);
        const std::string name = toolstack::name_of(session.store(), info.domain);
        listing.add({{"name", name},
                     {"domid", info.domain},
                     {"weight", parameters.weight},
                     {"cap", parameters.cap}},
                    fmt::format("{:<33} {:>4} {:>6} {:>4}\n", name, info.domain, parameters.weight,
                                parameters.cap));
    }
    return listing.end();
}

int version_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    bool json = false;
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    std::string hypervisor = "not reachable";
    std::string capabilities;
    try {
        const control::VersionInfo version = session.control().version();
        hypervisor = fmt::format("{}.{}{}", version.major, version.minor, version.extra);
        capabilities = version.capabilities;
    } catch (const Error&) { // the version of the tools can be asked for anywhere
    }
    if (json)
        print_json({{"tools", CERO_VERSION},
                    {"hypervisor_abi", hypervisor},
                    {"capabilities", capabilities}});
    else
        print(
            fmt::format("cero {}\nhypervisor ABI {} {}\n", CERO_VERSION, hypervisor, capabilities));
    return 0;
}

} // namespace cero::cli
