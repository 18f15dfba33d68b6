// SPDX-License-Identifier: BSD-2-Clause
// sysctl and platform_op: the machine as a whole, its clock and power.
#include <core/hypercall/handlers.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/memory.hpp>
#include <arch/api/power.hpp>
#include <cero/abi/platform.h>
#include <cero/abi/sysctl.h>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/sched/scheduler.hpp>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

using arch::Level;
using arch::log;

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

Status cpu_info(cero_sysctl_getcpuinfo& request) {
    const GuestSpan<cero_sysctl_cpuinfo> out{GuestPtr<cero_sysctl_cpuinfo>{request.info}, request.max_cpus};
    const std::uint32_t count = arch::cpu_count();
    request.nr_cpus = request.max_cpus < count ? request.max_cpus : count;
    for (std::uint32_t n = 0; n < request.nr_cpus; ++n) TRY(out.write(n, {sched::idle_time(CpuId{n}).raw()}));
    return {};
}

Status apply(cero_sysctl& op) {
    switch (op.cmd) {
    case CERO_SYSCTL_readconsole: return read_console(op.u.readconsole);
    case CERO_SYSCTL_physinfo: describe_machine(op.u.physinfo); return {};
    case CERO_SYSCTL_sched_id: op.u.sched_id.sched_id = CERO_SCHEDULER_CREDIT2; return {};
    case CERO_SYSCTL_getdomaininfolist: return list_domains(op.u.getdomaininfolist);
    case CERO_SYSCTL_getcpuinfo: return cpu_info(op.u.getcpuinfo);
    case CERO_SYSCTL_audit_frames: op.u.audit_frames.wrong = TRY(frame_audit_stopped()); return {};
    default: return Errno::nosys;
    }
}

} // namespace

Status sysctl_op(Vcpu& current, std::uint64_t argument) {
    if (!current.domain->is_control) return Errno::perm;
    const GuestPtr<cero_sysctl> at{argument};
    cero_sysctl op = TRY(at.read());
    if (op.interface_version != CERO_SYSCTL_INTERFACE_VERSION) return Errno::acces;
    TRY(apply(op));
    return at.write(op);
}

Status platform_op(Vcpu& current, std::uint64_t argument) {
    if (!current.domain->is_control) return Errno::perm;
    const auto op = TRY(GuestPtr<cero_platform_op>{argument}.read());
    if (op.interface_version != CERO_PLATFORM_INTERFACE_VERSION) return Errno::acces;
    switch (op.cmd) {
    case CERO_XENPF_settime32:
        set_wall_clock(op.u.settime32.secs, op.u.settime32.nsecs, Nanoseconds{op.u.settime32.system_time});
        return {};
    case CERO_XENPF_settime64:
        if (op.u.settime64.mbz != 0) return Errno::inval;
        set_wall_clock(op.u.settime64.secs, op.u.settime64.nsecs, Nanoseconds{op.u.settime64.system_time});
        return {};
    case CERO_XENPF_enter_acpi_sleep:
        if (op.u.enter_acpi_sleep.sleep_state != 5) return Errno::opnotsupp; // S5: soft off
        log(Level::info, "Domain 0 asks for power off");
        arch::power_off();
    default: return Errno::nosys;
    }
}

} // namespace cero
