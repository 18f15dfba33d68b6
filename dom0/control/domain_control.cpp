// SPDX-License-Identifier: BSD-2-Clause
// DomainControl by hypercalls.
#include "control/domain_control.hpp"

#include <cero/abi/event.h>
#include <cero/abi/grant.h>
#include <cero/abi/hypercall.h>
#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>
#include <cero/abi/sched.h>
#include <cero/abi/sysctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace cero::control {

namespace {

constexpr std::size_t list_room = 128;

/// Remedies for causes that every operation shares.
std::string remedy_for(int error) {
    switch (error) {
    case ESRCH:
        return "The domain does not exist (any more); \"cero list\" shows those that do.";
    case EPERM:
    case EACCES:
        return "Only the control domain may do this.";
    case ENOMEM:
        return "The hypervisor is out of memory: \"cero info\" shows what is free.";
    case ENOSYS:
    case EOPNOTSUPP:
        return "This hypervisor does not have that operation.";
    default:
        return {};
    }
}

class HypervisorControl final : public DomainControl {
public:
    cero_domid create_domain(const Uuid& uuid, unsigned vcpus) override;
    void destroy_domain(cero_domid domain) override;
    void set_max_memory(cero_domid domain, std::uint64_t kib) override;
    void set_max_vcpus(cero_domid domain, unsigned vcpus) override;
    void set_memory_map(cero_domid domain, std::uint64_t kib) override;
    void set_affinity(cero_domid domain, unsigned vcpu, const std::vector<bool>& cpus) override;
    std::vector<bool> affinity(cero_domid domain, unsigned vcpu) override;
    std::size_t populate(cero_domid domain, std::span<cero_frame> pfns, unsigned order) override;
    void pin_top_level_table(cero_domid domain, cero_frame frame) override;
    void set_vcpu_context(cero_domid domain, unsigned vcpu,
                          const cero_vcpu_guest_context& context) override;
    std::optional<cero_vcpu_guest_context> vcpu_context(cero_domid domain, unsigned vcpu) override;
    std::vector<bool> owned_frames(cero_domid domain, std::span<const cero_frame> frames) override;
    void fill_hypercall_page(cero_domid domain, cero_frame frame) override;
    cero_frame grant_table_frame(cero_domid domain) override;
    cero_evtchn_port allocate_unbound(cero_domid domain, cero_domid remote) override;
    Mapping map(cero_domid domain, std::span<const cero_frame> frames, bool writable) override;
    void pause(cero_domid domain) override { simple(domain, CERO_DOMCTL_pausedomain, "pause"); }
    void unpause(cero_domid domain) override {
        simple(domain, CERO_DOMCTL_unpausedomain, "unpause");
    }
    void set_scheduler(cero_domid domain, SchedulerParameters parameters) override;
    SchedulerParameters scheduler(cero_domid domain) override;
    std::optional<DomainInfo> domain(cero_domid domain) override {
        return domain_info(privcmd_, domain);
    }
    std::vector<DomainInfo> domains() override;
    std::optional<VcpuInfo> vcpu(cero_domid domain, unsigned vcpu) override;
    MachineInfo machine() override;
    VersionInfo version() override;
    std::string log_text(bool clear) override;
    std::optional<std::uint64_t> audit_frames() override;
    std::optional<unsigned> port_status(cero_domid domain, cero_evtchn_port port) override;
    std::vector<std::uint64_t> cpu_idle_times() override;

private:
    /// Memory for arguments: one buffer for all calls, since each is used up when the call returns.
    HypercallBuffer& arguments(std::size_t bytes) {
        if (buffer_.size() < bytes)
            buffer_ = HypercallBuffer{bytes};
        std::memset(buffer_.as<void>(), 0, bytes);
        return buffer_;
    }
    cero_domctl* domctl(cero_domid domain, std::uint32_t command, std::size_t extra = 0) {
        auto* call = arguments(sizeof(cero_domctl) + extra).as<cero_domctl>();
        call->cmd = command;
        call->interface_version = CERO_DOMCTL_INTERFACE_VERSION;
        call->domain = domain;
        return call;
    }
    [[nodiscard]] std::uint64_t behind(std::size_t header) const noexcept {
        return buffer_.address() + header;
    }
    long try_call(unsigned number, std::uint64_t a0, std::uint64_t a1 = 0, std::uint64_t a2 = 0,
                  std::uint64_t a3 = 0) {
        return privcmd_.call(number, {a0, a1, a2, a3, 0});
    }
    template <typename... Args>
    static void check(long result, fmt::format_string<Args...> what, Args&&... args) {
        if (result >= 0)
            return;
        const int error = static_cast<int>(-result);
        throw HypercallError{error,
                             fmt::format("{}: {}", fmt::format(what, std::forward<Args>(args)...),
                                         errno_text(error)),
                             remedy_for(error)};
    }
    void simple(cero_domid domain, std::uint32_t command, const char* verb) {
        domctl(domain, command);
        check(try_call(CERO_HYPERCALL_domctl, buffer_.address()), "domain {}: cannot {} it", domain,
              verb);
    }
    unsigned scheduler_id();
    /// A call about hard affinity, with room for a bitmap of `cpus` behind it.
    cero_domctl* affinity_call(cero_domid domain, unsigned vcpu, std::uint32_t command,
                               std::size_t cpus);

    Privcmd privcmd_;
    HypercallBuffer buffer_{CERO_PAGE_SIZE};
};

cero_domid HypervisorControl::create_domain(const Uuid& uuid, unsigned vcpus) {
    auto* call = domctl(0, CERO_DOMCTL_createdomain);
    auto& create = call->u.createdomain;
    std::copy(uuid.begin(), uuid.end(), create.handle);
    create.max_vcpus = vcpus;
    create.max_evtchn_port = 1023;
    create.max_grant_frames = -1;
    create.max_maptrack_frames = -1;
    create.grant_opts = 1; // version 1 is what every PV kernel can do
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()), "cannot create a domain");
    return call->domain;
}

void HypervisorControl::destroy_domain(cero_domid domain) {
    domctl(domain, CERO_DOMCTL_destroydomain);
    for (;;) {
        const long result = try_call(CERO_HYPERCALL_domctl, buffer_.address());
        if (result == -EAGAIN || result == -EINTR)
            continue;
        if (result != -ESRCH)
            check(result, "domain {}: cannot destroy it", domain);
        return;
    }
}

void HypervisorControl::set_max_memory(cero_domid domain, std::uint64_t kib) {
    domctl(domain, CERO_DOMCTL_max_mem)->u.max_mem.max_memkb = kib;
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot limit its memory to {} KiB", domain, kib);
}

void HypervisorControl::set_max_vcpus(cero_domid domain, unsigned vcpus) {
    domctl(domain, CERO_DOMCTL_max_vcpus)->u.max_vcpus.max = vcpus;
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()), "domain {}: cannot give it {} vCPUs",
          domain, vcpus);
}

void HypervisorControl::set_memory_map(cero_domid domain, std::uint64_t kib) {
    auto* call = arguments(sizeof(cero_foreign_memory_map) + sizeof(cero_e820_entry))
                     .as<cero_foreign_memory_map>();
    constexpr std::uint32_t usable = 1;
    call->domid = domain;
    call->map.nr_entries = 1;
    call->map.buffer = behind(sizeof *call);
    *reinterpret_cast<cero_e820_entry*>(call + 1) = {0, kib * 1024, usable};
    check(try_call(CERO_HYPERCALL_memory_op, CERO_XENMEM_set_memory_map, buffer_.address()),
          "domain {}: cannot set its memory map", domain);
}

cero_domctl* HypervisorControl::affinity_call(cero_domid domain, unsigned vcpu,
                                              std::uint32_t command, std::size_t cpus) {
    auto* call = domctl(domain, command, (cpus + 7) / 8);
    auto& affinity = call->u.vcpuaffinity;
    affinity.vcpu = vcpu;
    affinity.flags = CERO_VCPUAFFINITY_HARD;
    affinity.cpumap_hard.bitmap = behind(sizeof *call);
    affinity.cpumap_hard.nr_bits = static_cast<std::uint32_t>(cpus);
    return call;
}

std::vector<bool> HypervisorControl::affinity(cero_domid domain, unsigned vcpu) {
    std::vector<bool> cpus(machine().cpus);
    auto* call = affinity_call(domain, vcpu, CERO_DOMCTL_getvcpuaffinity, cpus.size());
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot tell where vCPU {} may run", domain, vcpu);
    const auto* map = reinterpret_cast<const std::uint8_t*>(call + 1);
    for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
        cpus[cpu] = (map[cpu / 8] >> cpu % 8 & 1) != 0;
    return cpus;
}

void HypervisorControl::set_affinity(cero_domid domain, unsigned vcpu,
                                     const std::vector<bool>& cpus) {
    auto* call = affinity_call(domain, vcpu, CERO_DOMCTL_setvcpuaffinity, cpus.size());
    auto* map = reinterpret_cast<std::uint8_t*>(call + 1);
    for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
        if (cpus[cpu])
            map[cpu / 8] = static_cast<std::uint8_t>(map[cpu / 8] | 1u << cpu % 8);
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot bind vCPU {} to these CPUs", domain, vcpu);
}

std::size_t HypervisorControl::populate(cero_domid domain, std::span<cero_frame> pfns,
                                        unsigned order) {
    auto* call = arguments(sizeof(cero_memory_reservation) + pfns.size_bytes())
                     .as<cero_memory_reservation>();
    call->extent_start = behind(sizeof *call);
    call->nr_extents = pfns.size();
    call->extent_order = order;
    call->domid = domain;
    auto* list = reinterpret_cast<cero_frame*>(call + 1);
    std::copy(pfns.begin(), pfns.end(), list);
    const long done =
        try_call(CERO_HYPERCALL_memory_op, CERO_XENMEM_populate_physmap, buffer_.address());
    if (done == -EPERM || done == -EINVAL) // an order that this hypervisor does not give
        return 0;
    check(done, "domain {}: cannot give it memory", domain);
    std::copy(list, list + done, pfns.begin());
    return static_cast<std::size_t>(done);
}

void HypervisorControl::pin_top_level_table(cero_domid domain, cero_frame frame) {
    auto* call = arguments(sizeof(cero_mmuext_op)).as<cero_mmuext_op>();
    call->cmd = CERO_MMUEXT_PIN_L4_TABLE;
    call->arg1.mfn = frame;
    check(try_call(CERO_HYPERCALL_mmuext_op, buffer_.address(), 1, 0, domain),
          "domain {}: its page tables are refused", domain);
}

void HypervisorControl::set_vcpu_context(cero_domid domain, unsigned vcpu,
                                         const cero_vcpu_guest_context& context) {
    auto* call = domctl(domain, CERO_DOMCTL_setvcpucontext, sizeof context);
    call->u.vcpucontext.vcpu = vcpu;
    call->u.vcpucontext.ctxt = behind(sizeof *call);
    std::memcpy(call + 1, &context, sizeof context);
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: the start state of vCPU {} is refused", domain, vcpu);
}

std::optional<cero_vcpu_guest_context> HypervisorControl::vcpu_context(cero_domid domain,
                                                                       unsigned vcpu) {
    auto* call = domctl(domain, CERO_DOMCTL_getvcpucontext, sizeof(cero_vcpu_guest_context));
    call->u.vcpucontext.vcpu = vcpu;
    call->u.vcpucontext.ctxt = behind(sizeof *call);
    const long result = try_call(CERO_HYPERCALL_domctl, buffer_.address());
    if (result == -ENODATA || result == -ESRCH)
        return std::nullopt;
    check(result, "domain {}: cannot read the registers of vCPU {}", domain, vcpu);
    cero_vcpu_guest_context context;
    std::memcpy(&context, call + 1, sizeof context);
    return context;
}

std::vector<bool> HypervisorControl::owned_frames(cero_domid domain,
                                                  std::span<const cero_frame> frames) {
    constexpr std::size_t most = 1024; // of one call
    std::vector<bool> owned;
    while (owned.size() < frames.size()) {
        const auto part =
            frames.subspan(owned.size(), std::min(most, frames.size() - owned.size()));
        auto* call = domctl(domain, CERO_DOMCTL_getpageframeinfo3, part.size_bytes());
        call->u.getpageframeinfo3.num = part.size();
        call->u.getpageframeinfo3.array = behind(sizeof *call);
        auto* list = reinterpret_cast<std::uint64_t*>(call + 1);
        std::copy(part.begin(), part.end(), list);
        check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
              "domain {}: cannot ask for the types of its frames", domain);
        for (std::size_t i = 0; i < part.size(); ++i)
            owned.push_back((list[i] & CERO_DOMCTL_PFINFO_XTAB) != CERO_DOMCTL_PFINFO_XTAB);
    }
    return owned;
}

void HypervisorControl::fill_hypercall_page(cero_domid domain, cero_frame frame) {
    domctl(domain, CERO_DOMCTL_hypercall_init)->u.hypercall_init.gmfn = frame;
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot fill its hypercall page", domain);
}

cero_frame HypervisorControl::grant_table_frame(cero_domid domain) {
    auto* call = arguments(sizeof(cero_gnttab_setup_table) + sizeof(cero_frame))
                     .as<cero_gnttab_setup_table>();
    call->dom = domain;
    call->nr_frames = 1;
    call->frame_list = behind(sizeof *call);
    check(try_call(CERO_HYPERCALL_grant_table_op, CERO_GNTTABOP_setup_table, buffer_.address(), 1),
          "domain {}: cannot set up its grant table", domain);
    if (call->status != CERO_GNTST_okay)
        throw HypercallError{EINVAL,
                             fmt::format("domain {}: cannot set up its grant table: status {}",
                                         domain, call->status)};
    return *reinterpret_cast<cero_frame*>(call + 1);
}

cero_evtchn_port HypervisorControl::allocate_unbound(cero_domid domain, cero_domid remote) {
    auto* call = arguments(sizeof(cero_evtchn_alloc_unbound)).as<cero_evtchn_alloc_unbound>();
    call->dom = domain;
    call->remote_dom = remote;
    check(try_call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_alloc_unbound, buffer_.address()),
          "domain {}: cannot make an event channel", domain);
    return call->port;
}

Mapping HypervisorControl::map(cero_domid domain, std::span<const cero_frame> frames,
                               bool writable) {
    Mapping mapping = privcmd_.map_foreign(domain, frames, writable);
    if (!mapping)
        check(-errno, "domain {}: cannot map {} of its frames", domain, frames.size());
    return mapping;
}

unsigned HypervisorControl::scheduler_id() {
    auto* call = arguments(sizeof(cero_sysctl)).as<cero_sysctl>();
    call->cmd = CERO_SYSCTL_sched_id;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    const long result = try_call(CERO_HYPERCALL_sysctl, buffer_.address());
    return result < 0 ? CERO_SCHEDULER_CREDIT2 : call->u.sched_id.sched_id;
}

void HypervisorControl::set_scheduler(cero_domid domain, SchedulerParameters parameters) {
    const unsigned id = scheduler_id();
    auto& call = domctl(domain, CERO_DOMCTL_scheduler_op)->u.scheduler_op;
    call.sched_id = id;
    call.cmd = CERO_DOMCTL_SCHEDOP_putinfo;
    call.u.credit2 = {static_cast<std::uint16_t>(parameters.weight),
                      static_cast<std::uint16_t>(parameters.cap)};
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot set weight {} and cap {}", domain, parameters.weight, parameters.cap);
}

SchedulerParameters HypervisorControl::scheduler(cero_domid domain) {
    const unsigned id = scheduler_id();
    auto& call = domctl(domain, CERO_DOMCTL_scheduler_op)->u.scheduler_op;
    call.sched_id = id;
    call.cmd = CERO_DOMCTL_SCHEDOP_getinfo;
    check(try_call(CERO_HYPERCALL_domctl, buffer_.address()),
          "domain {}: cannot read its scheduling parameters", domain);
    return {call.u.credit2.weight, call.u.credit2.cap};
}

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

std::optional<VcpuInfo> HypervisorControl::vcpu(cero_domid domain, unsigned vcpu) {
    auto& call = domctl(domain, CERO_DOMCTL_getvcpuinfo)->u.getvcpuinfo;
    call.vcpu = vcpu;
    const long result = try_call(CERO_HYPERCALL_domctl, buffer_.address());
    if (result == -ESRCH || result == -EINVAL || result == -ENOENT)
        return std::nullopt;
    check(result, "domain {}: cannot read the state of vCPU {}", domain, vcpu);
    return VcpuInfo{call.online != 0, call.blocked != 0, call.running != 0, call.cpu_time,
                    call.cpu};
}

MachineInfo HypervisorControl::machine() {
    auto* call = arguments(sizeof(cero_sysctl)).as<cero_sysctl>();
    call->cmd = CERO_SYSCTL_physinfo;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
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
    auto* call = arguments(sizeof(cero_sysctl) + room).as<cero_sysctl>();
    call->cmd = CERO_SYSCTL_readconsole;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    auto& read = call->u.readconsole;
    read.clear = clear ? 1 : 0;
    read.buffer = behind(sizeof *call);
    read.count = room;
    check(try_call(CERO_HYPERCALL_sysctl, buffer_.address()), "cannot read the hypervisor's log");
    return {reinterpret_cast<const char*>(call + 1), std::min(read.count, room)};
}

std::optional<std::uint64_t> HypervisorControl::audit_frames() {
    auto* call = arguments(sizeof(cero_sysctl)).as<cero_sysctl>();
    call->cmd = CERO_SYSCTL_audit_frames;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    const long result = try_call(CERO_HYPERCALL_sysctl, buffer_.address());
    if (result == -ENOSYS || result == -EOPNOTSUPP)
        return std::nullopt;
    check(result, "frames: cannot audit them");
    return call->u.audit_frames.wrong;
}

std::optional<unsigned> HypervisorControl::port_status(cero_domid domain, cero_evtchn_port port) {
    auto* call = arguments(sizeof(cero_evtchn_status)).as<cero_evtchn_status>();
    call->dom = domain;
    call->port = port;
    if (try_call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_status, buffer_.address()) < 0)
        return std::nullopt;
    return call->status;
}

std::vector<std::uint64_t> HypervisorControl::cpu_idle_times() {
    constexpr std::uint32_t room = 256;
    auto* call =
        arguments(sizeof(cero_sysctl) + room * sizeof(cero_sysctl_cpuinfo)).as<cero_sysctl>();
    call->cmd = CERO_SYSCTL_getcpuinfo;
    call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
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

} // namespace

std::string_view shutdown_reason_name(unsigned reason) noexcept {
    switch (static_cast<ShutdownReason>(reason)) {
    case ShutdownReason::poweroff:
        return "poweroff";
    case ShutdownReason::reboot:
        return "reboot";
    case ShutdownReason::suspend:
        return "suspend";
    case ShutdownReason::crash:
        return "crash";
    case ShutdownReason::watchdog:
        return "watchdog";
    case ShutdownReason::soft_reset:
        return "soft_reset";
    }
    return "unknown";
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
