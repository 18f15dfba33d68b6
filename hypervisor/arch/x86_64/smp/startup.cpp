// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/smp/smp.hpp>

#include <arch/api/console.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/memory.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <arch/x86_64/time/clock.hpp>

#include <cstring>

extern "C" {
extern const char trampoline_start[], trampoline_end[], trampoline_parameters[];
extern std::uint64_t boot_l4[512];
[[noreturn]] void run_guests_entry();
}

namespace cero::arch {
namespace {

std::uint32_t present;
struct TrampolineParameters {
    std::uint64_t cr3, stack, area;
};

bool wait_online(CpuId cpu, unsigned milliseconds) noexcept {
    for (unsigned n = 0; n < milliseconds * 20; ++n) {
        if (online_cpus().contains(cpu)) return true;
        delay_microseconds(50);
    }
    return online_cpus().contains(cpu);
}

void start_cpu(std::uint32_t cpu, volatile TrampolineParameters* parameters) noexcept {
    const PerCpu& area = cpu_area(CpuId{cpu});
    parameters->stack = area.stack_top;
    parameters->area = reinterpret_cast<std::uint64_t>(&area);
    constexpr unsigned page = CERO_TRAMPOLINE_PHYS >> page_shift;
    lapic::send_init(area.apic_id);
    delay_microseconds(10000);
    for (unsigned attempt = 0; attempt < 2; ++attempt) {
        lapic::send_startup(area.apic_id, page);
        if (wait_online(CpuId{cpu}, attempt == 0 ? 20 : 2000)) return;
    }
    log(Level::warning, "cpu %u (APIC id %u) does not start", cpu, area.apic_id);
}

} // namespace

std::uint32_t cpu_count() noexcept { return present; }

void make_cpu_areas(const platform::AcpiInfo& acpi, std::uint32_t boot_apic_id, std::uint32_t limit) noexcept {
    make_cpu_area(present++, boot_apic_id);
    for (unsigned n = 0; n < acpi.cpu_count && present < limit && present < max_cpus; ++n)
        if (acpi.cpus[n].apic_id != boot_apic_id) make_cpu_area(present++, acpi.cpus[n].apic_id);
}

void start_other_cpus() noexcept {
    if (present > 1) {
        // Their first CR3 has the identity mapping of the boot tables and all that is ours.
        std::memcpy(boot_l4 + first_hypervisor_slot, hypervisor_slots(), hypervisor_slot_count * sizeof(std::uint64_t));
        auto* page = frame_ptr<char>(to_frame(PhysAddr{CERO_TRAMPOLINE_PHYS}));
        std::memcpy(page, trampoline_start, static_cast<std::size_t>(trampoline_end - trampoline_start));
        auto* parameters =
            reinterpret_cast<volatile TrampolineParameters*>(page + (trampoline_parameters - trampoline_start));
        parameters->cr3 = reinterpret_cast<std::uint64_t>(boot_l4) - CERO_IMAGE_OFFSET;
        for (std::uint32_t cpu = 1; cpu < present; ++cpu) start_cpu(cpu, parameters);
        clear_page(page);
    }
    std::memset(boot_l4, 0, page_size); // the last writable and executable mapping goes
}

void run_guests() noexcept {
    raise_softirq(Softirq::schedule);
    run_guests_entry();
}

extern "C" [[noreturn]] void start_secondary_cpu(CpuArea& area) noexcept {
    write_cr3(hypervisor_root());
    load_cpu_state(area);
    lapic::enable();
    init_cpu_timer();
    core::start_cpu();
    set_cpu_online(CpuId{area.cpu.id});
    run_guests();
}

} // namespace cero::arch
