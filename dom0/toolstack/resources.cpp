// SPDX-License-Identifier: BSD-2-Clause
// CPUs and memory of a running domain, by XenStore requests to its kernel and limits that the
// hypervisor enforces.
#include "toolstack/resources.hpp"

#include "base/error.hpp"
#include "base/number.hpp"
#include "toolstack/paths.hpp"

#include <algorithm>

namespace cero::toolstack {

namespace {

constexpr std::uint64_t kib_per_mib = 1024;

control::DomainInfo living(Machine& machine, cero_domid domain) {
    if (domain == 0)
        throw Error{
            ExitCode::usage,
            "domain 0: the control domain's vCPUs and memory are set when the machine starts",
            "The options dom0_mem= and dom0_max_vcpus= of the hypervisor's boot entry set "
            "them."};
    const auto info = machine.control.domain(domain);
    if (!info || (info->flags & (CERO_DOMINF_dying | CERO_DOMINF_shutdown)) != 0)
        throw Error{ExitCode::failed, fmt::format("domain {}: it does not run any more", domain)};
    return *info;
}

std::uint64_t memory_node(Machine& machine, cero_domid domain, std::string_view name) {
    const std::string path = fmt::format("{}/memory/{}", domain_path(domain), name);
    const auto kib = number_of<std::uint64_t>(machine.store.read(path).value_or(""));
    if (!kib)
        throw Error{ExitCode::failed,
                    fmt::format("domain {}: the node {} holds no number", domain, path),
                    "Somebody has changed it; \"cero store write\" can mend it."};
    return *kib;
}

} // namespace

unsigned vcpu_limit(Machine& machine, cero_domid domain) {
    unsigned count = 0;
    while (machine.store.read(availability_path(domain, count)))
        ++count;
    return count;
}

void set_vcpus(Machine& machine, cero_domid domain, unsigned count) {
    (void)living(machine, domain);
    const unsigned limit = vcpu_limit(machine, domain);
    if (count == 0 || count > limit)
        throw Error{ExitCode::usage,
                    fmt::format("domain {}: it cannot have {} vCPUs; 1 to {} are possible", domain,
                                count, limit),
                    "\"maxvcpus\" in its configuration says how many it can have."};
    machine.store.transact([&](std::uint32_t transaction) {
        for (unsigned vcpu = 0; vcpu < limit; ++vcpu) {
            const std::string path = availability_path(domain, vcpu);
            const std::string_view wanted = vcpu < count ? "online" : "offline";
            if (machine.store.read(path, transaction) != wanted) // no watch fires for nothing
                machine.store.write(path, wanted, transaction);
        }
    });
}

void pin_vcpu(Machine& machine, cero_domid domain, unsigned vcpu, std::vector<bool> cpus) {
    if (!machine.control.vcpu(domain, vcpu))
        throw Error{ExitCode::not_found, fmt::format("domain {}: it has no vCPU {}", domain, vcpu),
                    "\"cero vcpu-list\" shows its vCPUs."};
    const unsigned here = machine.control.machine().cpus;
    cpus.resize(here);
    if (std::find(cpus.begin(), cpus.end(), true) == cpus.end())
        throw Error{
            ExitCode::usage,
            fmt::format("domain {}, vCPU {}: none of these CPUs is one of this machine's {}",
                        domain, vcpu, here),
            "CPUs are counted from 0."};
    machine.control.set_affinity(domain, vcpu, cpus);
}

void set_memory(Machine& machine, cero_domid domain, std::uint64_t mib) {
    const control::DomainInfo info = living(machine, domain);
    const std::uint64_t limit = memory_node(machine, domain, "static-max") / kib_per_mib;
    if (mib == 0 || mib > limit)
        throw Error{ExitCode::usage,
                    fmt::format("domain {}: it cannot have {} MiB; 1 to {} are possible", domain,
                                mib, limit),
                    "\"maxmem\" in its configuration says how much it can have."};
    const std::uint64_t free_pages = machine.control.machine().free_pages;
    if (mib * control::pages_per_mib > info.tot_pages + free_pages)
        throw Error{ExitCode::failed,
                    fmt::format("domain {}: it has {} MiB and {} MiB are free: too little for {} "
                                "MiB",
                                domain, info.tot_pages / control::pages_per_mib,
                                free_pages / control::pages_per_mib, mib),
                    "Take memory from another domain, or ask for less."};
    machine.control.set_max_memory(domain, mib * kib_per_mib + memory_slack_kib);
    machine.store.write(domain_path(domain) + "/memory/target", std::to_string(mib * kib_per_mib));
}

void set_memory_limit(Machine& machine, cero_domid domain, std::uint64_t mib) {
    (void)living(machine, domain);
    const std::uint64_t target = memory_node(machine, domain, "target") / kib_per_mib;
    if (mib < target)
        throw Error{ExitCode::usage,
                    fmt::format("domain {}: a maximum of {} MiB is below the {} MiB that it has",
                                domain, mib, target),
                    "Lower what it has first, with \"cero mem-set\"."};
    const auto config = saved_config(domain);
    if (config && mib > config->max_memory_mib)
        throw Error{ExitCode::usage,
                    fmt::format("domain {}: it was created for at most {} MiB", domain,
                                config->max_memory_mib),
                    "Raise \"maxmem\" in its configuration and create it again."};
    machine.store.write(domain_path(domain) + "/memory/static-max",
                        std::to_string(mib * kib_per_mib));
}

} // namespace cero::toolstack
