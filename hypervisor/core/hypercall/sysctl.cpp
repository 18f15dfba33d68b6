// SPDX-License-Identifier: BSD-2-Clause
// sysctl: the machine as a whole.
#include <core/hypercall/handlers.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/memory.hpp>
#include <cero/abi/sysctl.h>
#include <core/frame/frame_allocator.hpp>
#include <core/hypercall/domctl_internal.hpp>
#include <core/sched/scheduler.hpp>

namespace cero {
namespace {

Status read_console(cero_sysctl_readconsole& request) {
    std::uint64_t index = request.incremental != 0 ? request.index : 0;
    char chunk[256];
    std::uint32_t done = 0;
    while (done < request.count) {
        const std::uint32_t room = request.count - done;
        const std::size_t got = arch::log_read(index, chunk, room < sizeof chunk ? room : sizeof chunk);
        if (got == 0) break;
        if (!arch::copy_to_guest(GuestVirt{request.buffer + done}, chunk, got)) return Errno::fault;
        done += static_cast<std::uint32_t>(got);
    }
    request.count = done;
    request.index = static_cast<std::uint32_t>(index);
    if (request.clear != 0) arch::log_clear();
    return {};
}

std::uint64_t ram_pages() noexcept {
    std::uint64_t pages = 0;
    for (const arch::MemoryRange& range : arch::memory_map())
        if (range.type == arch::MemoryType::ram) pages += range.size >> page_shift;
    return pages;
}

void describe_machine(cero_sysctl_physinfo& info) {
    info = {};
    info.threads_per_core = info.cores_per_socket = info.nr_nodes = 1;
    info.nr_cpus = static_cast<std::uint32_t>(__builtin_popcountll(arch::online_cpus().raw()));
    info.cores_per_socket = info.nr_cpus;
    info.max_cpu_id = arch::cpu_count() - 1;
    info.cpu_khz = static_cast<std::uint32_t>(arch::tsc_scale().khz);
    info.capabilities = CERO_SYSCTL_PHYSCAP_pv;
    info.total_pages = ram_pages();
    info.free_pages = allocator_free_frames();
    info.scrub_pages = allocator_dirty_frames();
    info.max_mfn = arch::max_frame().raw() - 1;
}

Status list_domains(cero_sysctl_getdomaininfolist& request) {
    const GuestSpan<cero_domctl_getdomaininfo> out{GuestPtr<cero_domctl_getdomaininfo>{request.buffer},
                                                   request.max_domains};
    request.num_domains = 0;
    DomainId id{request.first_domain};
    while (request.num_domains < request.max_domains) {
        const DomainRef domain = next_domain(id);
        if (!domain) break;
        cero_domctl_getdomaininfo info;
        describe_domain(*domain, info);
        TRY(out.write(request.num_domains++, info));
        id = DomainId{static_cast<std::uint16_t>(domain->id.raw() + 1)};
    }
    return {};
}

Status debug_keys(const cero_sysctl_debug_keys& request) {
    const GuestSpan<char> keys{GuestPtr<char>{request.keys}, request.nr_keys};
    for (std::uint32_t n = 0; n < request.nr_keys && n < 16; ++n) handle_debug_key(TRY(keys.read(n)));
    return {};
}

Status cpu_info(cero_sysctl_getcpuinfo& request) {
    const GuestSpan<cero_sysctl_cpuinfo> out{GuestPtr<cero_sysctl_cpuinfo>{request.info}, request.max_cpus};
    const std::uint32_t count = arch::cpu_count();
    request.nr_cpus = request.max_cpus < count ? request.max_cpus : count;
    for (std::uint32_t n = 0; n < request.nr_cpus; ++n) TRY(out.write(n, {sched::idle_time(CpuId{n}).raw()}));
    return {};
}

Status topology(cero_sysctl_cputopoinfo& request) {
    const std::uint32_t count = arch::cpu_count();
    const GuestSpan<cero_sysctl_cputopo> out{GuestPtr<cero_sysctl_cputopo>{request.cputopo}, request.num_cpus};
    if (request.cputopo != 0)
        for (std::uint32_t n = 0; n < count && n < request.num_cpus; ++n) TRY(out.write(n, {n, 0, 0}));
    if (request.cputopo == 0 || request.num_cpus > count) request.num_cpus = count;
    return {};
}

/// One node.
Status numa(cero_sysctl_numainfo& request) {
    struct NodeMemory {
        std::uint64_t size, free;
    };
    if (request.meminfo != 0 && request.num_nodes != 0)
        TRY(GuestPtr<NodeMemory>{request.meminfo}.write(
            {ram_pages() << page_shift, allocator_free_frames() << page_shift}));
    if (request.distance != 0 && request.num_nodes != 0) TRY(GuestPtr<std::uint32_t>{request.distance}.write(10));
    request.num_nodes = 1;
    return {};
}

Status apply(cero_sysctl& op) {
    switch (op.cmd) {
    case CERO_SYSCTL_readconsole: return read_console(op.u.readconsole);
    case CERO_SYSCTL_physinfo: describe_machine(op.u.physinfo); return {};
    case CERO_SYSCTL_sched_id: op.u.sched_id.sched_id = CERO_SCHEDULER_CREDIT2; return {};
    case CERO_SYSCTL_getdomaininfolist: return list_domains(op.u.getdomaininfolist);
    case CERO_SYSCTL_debug_keys: return debug_keys(op.u.debug_keys);
    case CERO_SYSCTL_getcpuinfo: return cpu_info(op.u.getcpuinfo);
    case CERO_SYSCTL_availheap: op.u.availheap.avail_bytes = allocator_free_frames() << page_shift; return {};
    case CERO_SYSCTL_cputopoinfo: return topology(op.u.cputopoinfo);
    case CERO_SYSCTL_numainfo: return numa(op.u.numainfo);
    default: return Errno::nosys;
    }
}

} // namespace

Result<std::int64_t> sysctl_op(Vcpu& current, std::uint64_t argument) {
    if (!current.domain->is_control) return Errno::perm;
    const GuestPtr<cero_sysctl> at{argument};
    cero_sysctl op = TRY(at.read());
    if (op.interface_version != CERO_SYSCTL_INTERFACE_VERSION) return Errno::acces;
    TRY(apply(op));
    TRY(at.write(op));
    return std::int64_t{0};
}

} // namespace cero
