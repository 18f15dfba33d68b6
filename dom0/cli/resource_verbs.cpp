// SPDX-License-Identifier: BSD-2-Clause
// Verbs about what a running domain may use: vcpu-set, vcpu-pin, mem-set, mem-max.
#include "toolstack/resources.hpp"

#include "base/error.hpp"
#include "base/number.hpp"
#include "cli/arguments.hpp"
#include "config/specs.hpp"

#include <charconv>

namespace cero::cli {

namespace {

constexpr double wait_timeout = 60;

/// "512", "512m", "2G": MiB without a unit, as xl reads it.
std::uint64_t parse_mib(const std::string& verb, const std::string& text) {
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit{stop, static_cast<std::size_t>(text.data() + text.size() - stop)};
    constexpr std::uint64_t most = 1 << 30; // a PiB: no overflow below
    if (error == std::errc{} && number <= most) {
        if (unit.empty() || unit == "m" || unit == "M")
            return number;
        if (unit == "g" || unit == "G")
            return number << 10;
        if (unit == "t" || unit == "T")
            return number << 20;
        if (unit == "k" || unit == "K")
            return number >> 10;
    }
    throw Error{ExitCode::usage, fmt::format("{}: \"{}\" is no size", verb, text),
                "Write MiB, or a number with k, m, g or t."};
}

/// Polls: the hypervisor has no event for a vCPU that comes up or a balloon that moves.
template <typename Condition>
void wait_for_guest(double seconds, const std::string& what, Condition is_done) {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(std::min(seconds, 2e6) * 1e9);
    timespec pause{0, 2'000'000};
    while (!is_done()) {
        if (monotonic_ns() >= deadline)
            throw Error{ExitCode::timed_out, fmt::format("{} within {} s", what, seconds),
                        "Its kernel may be busy, or not have the driver for it."};
        ::nanosleep(&pause, nullptr);
        pause.tv_nsec = std::min(pause.tv_nsec * 2, 100'000'000L);
    }
}

control::DomainInfo info_of(Session& session, cero_domid domain) {
    const auto info = session.control().domain(domain);
    if (!info)
        throw Error{ExitCode::not_found, fmt::format("domain {}: it has ended", domain)};
    return *info;
}

} // namespace

int vcpu_set_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string name;
    unsigned count = 0;
    bool ignore_host = false;
    bool wait = false;
    double timeout = wait_timeout;
    parser.domain_option(name);
    parser->add_option("COUNT", count, "vCPUs that shall be online")->required();
    parser->add_flag("-i,--ignore-host", ignore_host, "allow more than the machine has CPUs");
    parser->add_flag("-w,--wait", wait, "wait until the guest has done it");
    parser.timeout_option(timeout, "seconds that --wait waits (60)");
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    const cero_domid domain = session.find(name);
    const unsigned cpus = machine.control.machine().cpus;
    if (count > cpus && !ignore_host && count <= toolstack::vcpu_limit(machine, domain))
        throw Error{ExitCode::usage,
                    fmt::format("domain {}: {} vCPUs are more than the machine's {} CPUs", domain,
                                count, cpus),
                    "Give -i if that is meant."};
    toolstack::set_vcpus(machine, domain, count);
    if (wait)
        wait_for_guest(timeout,
                       fmt::format("domain {}: it did not come to {} vCPUs", domain, count),
                       [&] { return info_of(session, domain).nr_online_vcpus == count; });
    return 0;
}

int vcpu_pin_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string name;
    std::string vcpu_text;
    std::string hard;
    std::string soft = "-";
    parser.domain_option(name);
    parser->add_option("VCPU", vcpu_text, "number of a vCPU, or all")->required();
    parser->add_option("CPUS", hard, "CPUs it may run on: 0-3,^2 or all")->required();
    parser->add_option("SOFT", soft, "accepted as in xl when it is - or all");
    if (!parser.parse(arguments))
        return 0;
    if (soft != "-" && soft != "all")
        throw Error{ExitCode::usage, "vcpu-pin: Cero's scheduler has no soft affinity",
                    "Leave the last argument out."};
    toolstack::Machine machine = session.machine();
    const cero_domid domain = session.find(name);
    std::vector<bool> cpus;
    try {
        cpus = config::parse_cpus(hard);
    } catch (const config::SpecError& error) {
        throw Error{ExitCode::usage, fmt::format("vcpu-pin: {}", error.text)};
    }
    if (vcpu_text == "all") {
        const control::DomainInfo info = info_of(session, domain);
        for (unsigned vcpu = 0; info.max_vcpu_id != ~0u && vcpu <= info.max_vcpu_id; ++vcpu)
            toolstack::pin_vcpu(machine, domain, vcpu, cpus);
        return 0;
    }
    const auto vcpu = number_of<unsigned>(vcpu_text);
    if (!vcpu)
        throw Error{ExitCode::usage,
                    fmt::format("vcpu-pin: \"{}\" is no vCPU; give a number or all", vcpu_text)};
    toolstack::pin_vcpu(machine, domain, *vcpu, cpus);
    return 0;
}

int mem_set_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string name;
    std::string size;
    bool wait = false;
    double timeout = wait_timeout;
    parser.domain_option(name);
    parser->add_option("SIZE", size, "MiB, or a number with k, m, g or t")->required();
    if (verb == "mem-set") {
        parser->add_flag("-w,--wait", wait, "wait until the guest has done it");
        parser.timeout_option(timeout, "seconds that --wait waits (60)");
    }
    if (!parser.parse(arguments))
        return 0;
    const std::uint64_t mib = parse_mib(verb, size);
    toolstack::Machine machine = session.machine();
    const cero_domid domain = session.find(name);
    if (verb == "mem-max") {
        toolstack::set_memory_limit(machine, domain, mib);
        return 0;
    }
    toolstack::set_memory(machine, domain, mib);
    if (wait) {
        const std::uint64_t slack = toolstack::memory_slack_kib / 4;
        wait_for_guest(timeout, fmt::format("domain {}: it did not come to {} MiB", domain, mib),
                       [&] {
                           const std::uint64_t has = info_of(session, domain).tot_pages;
                           const std::uint64_t wanted = mib * control::pages_per_mib;
                           return has <= wanted + slack && has + slack >= wanted;
                       });
    }
    return 0;
}

} // namespace cero::cli
