// SPDX-License-Identifier: BSD-2-Clause
// platform_op: the machine's clock and power, for the control domain.
#include <core/hypercall/handlers.hpp>

#include <arch/api/console.hpp>
#include <arch/api/power.hpp>
#include <cero/abi/platform.h>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

Status cpu_info(cero_xenpf_pcpuinfo& info) {
    const std::uint32_t count = arch::cpu_count();
    if (info.xen_cpuid >= count) return Errno::inval;
    info.max_present = count - 1;
    info.flags = arch::online_cpus().contains(CpuId{info.xen_cpuid}) ? 1 : 0;
    info.apic_id = arch::cpu_area(CpuId{info.xen_cpuid}).apic_id;
    info.acpi_id = info.xen_cpuid;
    return {};
}

Status enter_sleep(const cero_xenpf_enter_acpi_sleep& sleep) {
    constexpr std::uint32_t soft_off = 5;
    if (sleep.sleep_state != soft_off) return Errno::opnotsupp;
    arch::log(arch::Level::info, "Domain 0 asks for power off");
    arch::power_off();
}

} // namespace

Status platform_op(Vcpu& current, std::uint64_t argument) {
    if (!current.domain->is_control) return Errno::perm;
    const GuestPtr<cero_platform_op> at{argument};
    auto op = TRY(at.read());
    if (op.interface_version != CERO_PLATFORM_INTERFACE_VERSION) return Errno::acces;
    switch (op.cmd) {
    case CERO_XENPF_settime32:
        set_wall_clock(op.u.settime32.secs, op.u.settime32.nsecs, Nanoseconds{op.u.settime32.system_time});
        return {};
    case CERO_XENPF_settime64:
        if (op.u.settime64.mbz != 0) return Errno::inval;
        set_wall_clock(op.u.settime64.secs, op.u.settime64.nsecs, Nanoseconds{op.u.settime64.system_time});
        return {};
    case CERO_XENPF_enter_acpi_sleep: return enter_sleep(op.u.enter_acpi_sleep);
    case CERO_XENPF_get_cpuinfo: TRY(cpu_info(op.u.pcpu_info)); return at.write(op);
    default: return Errno::nosys;
    }
}

} // namespace cero
