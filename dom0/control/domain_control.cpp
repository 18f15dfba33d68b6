// SPDX-License-Identifier: BSD-2-Clause
// What is asked of the hypervisor about one domain.
#include "control/hypervisor_control.hpp"

#include <cero/abi/event.h>
#include <cero/abi/grant.h>
#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace cero::control {

/// Remedies for causes that every operation shares.
std::string HypervisorControl::remedy_for(int error) {
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

std::optional<unsigned> HypervisorControl::port_status(cero_domid domain, cero_evtchn_port port) {
    auto* call = arguments(sizeof(cero_evtchn_status)).as<cero_evtchn_status>();
    call->dom = domain;
    call->port = port;
    if (try_call(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_status, buffer_.address()) < 0)
        return std::nullopt;
    return call->status;
}

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

} // namespace cero::control
