// SPDX-License-Identifier: BSD-2-Clause
// What is asked of the hypervisor about the machine and about all domains.
#include "control/hypervisor_control.hpp"

#include <algorithm>
#include <cerrno>

namespace cero::control {

namespace {

constexpr std::size_t list_room = 128;

/// Fills the memory behind a sysctl with domains from `first` on; returns how many.
long list_domains(Privcmd& privcmd, cero_domid first, const HypercallBuffer& buffer,
                  std::size_t room) {
    auto* call = buffer.as<cero_sysctl>();
    *call = {};
    call->cmd = CERO_SYSCTL_getdomaininfolist;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    auto& list = call->u.getdomaininfolist;
    list.first_domain = first;
    list.max_domains = static_cast<std::uint32_t>(room);
    list.buffer = buffer.address() + sizeof *call;
    const long result = privcmd.call(CERO_HYPERCALL_sysctl, {buffer.address(), 0, 0, 0, 0});
    return result < 0 ? result : static_cast<long>(list.num_domains);
}

const DomainInfo* listed(const HypercallBuffer& buffer) noexcept {
    return reinterpret_cast<const DomainInfo*>(buffer.as<cero_sysctl>() + 1);
}

} // namespace

unsigned HypervisorControl::scheduler_id() {
    const auto* call = sysctl(CERO_SYSCTL_sched_id);
    const long result = try_call(CERO_HYPERCALL_sysctl, buffer_.address());
    return result < 0 ? CERO_SCHEDULER_CREDIT2 : call->u.sched_id.sched_id;
}

std::vector<DomainInfo> HypervisorControl::domains() {
    arguments(sizeof(cero_sysctl) + list_room * sizeof(DomainInfo));
    std::vector<DomainInfo> all;
    for (cero_domid next = 0;;) {
        const long found = list_domains(privcmd_, next, buffer_, list_room);
        check(found, "cannot list the domains");
        all.insert(all.end(), listed(buffer_), listed(buffer_) + found);
        if (static_cast<std::size_t>(found) < list_room)
            return all;
        next = static_cast<cero_domid>(all.back().domain + 1);
    }
}

MachineInfo HypervisorControl::machine() {
    const auto* call = sysctl(CERO_SYSCTL_physinfo);
    check(try_call(CERO_HYPERCALL_sysctl, buffer_.address()),
          "cannot ask for the machine's figures");
    const auto& info = call->u.physinfo;
    return {info.nr_cpus,  info.cpu_khz,     info.threads_per_core, info.cores_per_socket,
            info.nr_nodes, info.total_pages, info.free_pages};
}

VersionInfo HypervisorControl::version() {
    constexpr unsigned extraversion = 1;
    constexpr unsigned compile_info = 2;
    constexpr unsigned capabilities = 3;
    constexpr unsigned changeset = 4;
    constexpr std::size_t room = 1024;
    VersionInfo version;
    const long number = try_call(CERO_HYPERCALL_xen_version, 0);
    check(number, "cannot ask for the hypervisor's version");
    version.major = static_cast<unsigned>(number >> 16);
    version.minor = static_cast<unsigned>(number & 0xffff);
    const auto text = [&](unsigned command, std::size_t offset = 0) -> std::string {
        arguments(room + 1);
        if (try_call(CERO_HYPERCALL_xen_version, command, buffer_.address()) < 0)
            return {};
        return buffer_.as<char>() + offset;
    };
    version.extra = text(extraversion);
    version.capabilities = text(capabilities);
    version.changeset = text(changeset);
    version.compiler = text(compile_info);
    version.compile_by = text(compile_info, 64);
    version.compile_date = text(compile_info, 112);
    while (!version.capabilities.empty() && version.capabilities.back() == ' ')
        version.capabilities.pop_back();
    return version;
}

std::string HypervisorControl::log_text(bool clear) {
    constexpr std::uint32_t room = 128 * 1024;
    auto* call = sysctl(CERO_SYSCTL_readconsole, room);
    auto& read = call->u.readconsole;
    read.clear = clear ? 1 : 0;
    read.buffer = behind(sizeof *call);
    read.count = room;
    check(try_call(CERO_HYPERCALL_sysctl, buffer_.address()), "cannot read the hypervisor's log");
    return {reinterpret_cast<const char*>(call + 1), std::min(read.count, room)};
}

std::optional<std::uint64_t> HypervisorControl::audit_frames() {
    const auto* call = sysctl(CERO_SYSCTL_audit_frames);
    const long result = try_call(CERO_HYPERCALL_sysctl, buffer_.address());
    if (result == -ENOSYS || result == -EOPNOTSUPP)
        return std::nullopt;
    check(result, "frames: cannot audit them");
    return call->u.audit_frames.wrong;
}

std::vector<std::uint64_t> HypervisorControl::cpu_idle_times() {
    constexpr std::uint32_t room = 256;
    auto* call = sysctl(CERO_SYSCTL_getcpuinfo, room * sizeof(cero_sysctl_cpuinfo));
    call->u.getcpuinfo.max_cpus = room;
    call->u.getcpuinfo.info = behind(sizeof *call);
    if (try_call(CERO_HYPERCALL_sysctl, buffer_.address()) < 0)
        return {};
    const auto* info = reinterpret_cast<const cero_sysctl_cpuinfo*>(call + 1);
    std::vector<std::uint64_t> times;
    for (std::uint32_t cpu = 0; cpu < std::min(call->u.getcpuinfo.nr_cpus, room); ++cpu)
        times.push_back(info[cpu].idletime);
    return times;
}

std::unique_ptr<DomainControl> open_domain_control() {
    return std::make_unique<HypervisorControl>();
}

std::optional<DomainInfo> domain_info(Privcmd& privcmd, cero_domid domain) {
    const HypercallBuffer buffer{sizeof(cero_sysctl) + sizeof(DomainInfo)};
    const long found = list_domains(privcmd, domain, buffer, 1);
    if (found < 0) {
        const int error = static_cast<int>(-found);
        throw HypercallError{error, fmt::format("cannot list domains: {}", errno_text(error))};
    }
    if (found == 0 || listed(buffer)->domain != domain)
        return std::nullopt;
    return *listed(buffer);
}

} // namespace cero::control
