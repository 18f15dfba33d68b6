// SPDX-License-Identifier: BSD-2-Clause
// From the boot loader's last instruction to the first guest: wires the parts together, in order.
#include <arch/api/clock.hpp>
#include <arch/api/hooks.hpp>
#include <arch/x86_64/boot/boot_info.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/irq/ioapic.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>
#include <arch/x86_64/smp/smp.hpp>
#include <arch/x86_64/time/clock.hpp>
#include <core/boot/dom0.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <platform/acpi/machine.hpp>
#include <platform/boot/options.hpp>
#include <platform/log/log.hpp>
#include <platform/serial/uart.hpp>

extern "C" {
using Constructor = void (*)();
extern const Constructor constructors_start[], constructors_end[];
}

namespace cero {
namespace {

using arch::Level;
using arch::log;

void open_console() noexcept {
    const std::string_view console = arch::boot_option("console").value_or("com1");
    if (console == "none") return;
    const unsigned number = console == "com2" ? 2 : 1;
    const auto baud = platform::parse_number(arch::boot_option(number == 2 ? "com2" : "com1").value_or("115200"));
    static_cast<void>(platform::uart::open(number, static_cast<std::uint32_t>(baud.value_or(115200))));
}

void set_log_level() noexcept {
    const std::string_view level = arch::boot_option("loglvl").value_or("info");
    constexpr std::string_view names[] = {"error", "warning", "info", "debug"};
    for (unsigned n = 0; n < 4; ++n)
        if (level == names[n]) platform::set_log_level(Level{static_cast<std::uint8_t>(n)});
    if (level == "all") platform::set_log_level(Level::debug);
}

void report_options() noexcept {
    std::string_view rest = arch::boot_command_line();
    for (auto word = platform::next_word(rest); !word.empty(); word = platform::next_word(rest))
        if (!platform::is_known_option(word))
            log(Level::warning, "option `%.*s' is not known and has no effect", static_cast<int>(word.size()),
                word.data());
}

const char* type_name(arch::MemoryType type) noexcept {
    constexpr const char* names[] = {"", "RAM", "reserved", "ACPI tables", "ACPI NVS", "unusable"};
    return names[static_cast<std::uint32_t>(type) % 6];
}

void report_machine() noexcept {
    log(Level::info, "command line: %s", arch::boot_command_line());
    for (const arch::MemoryRange& range : arch::memory_map())
        log(Level::info, "memory %016lx-%016lx %s", range.base, range.base + range.size - 1, type_name(range.type));
    for (const arch::BootModule& module : arch::boot_modules())
        log(Level::info, "module at %lx, %lu KiB: %s", module.base, module.size / 1024, module.command_line);
}

std::uint32_t cpu_limit() noexcept {
    const auto limit = platform::parse_number(arch::boot_option("maxcpus").value_or("64"));
    return static_cast<std::uint32_t>(limit && *limit >= 1 && *limit <= max_cpus ? *limit : max_cpus);
}

/// On the CPU's own stack.
[[noreturn]] void continue_start() noexcept {
    const platform::AcpiInfo& acpi = platform::acpi_info();
    arch::ioapic::init(acpi);
    arch::set_cpu_online(CpuId{0});
    arch::init_clock(acpi, !arch::boot_option("nodeadline"));
    arch::init_cpu_timer();
    platform::log_clock_ready();
    frame_init();
    core::start_cpu();
    arch::start_other_cpus();
    unsigned running = 0;
    arch::online_cpus().for_each([&](CpuId) { ++running; });
    log(Level::info, "%u of %u CPUs run; %lu KiB for the hypervisor, %lu KiB free", running, arch::cpu_count(),
        arch::hypervisor_frames() * 4, allocator_free_frames() * 4);
    platform::uart::start_input();
    if (!build_control_domain()) // the boot entry's mistake, not ours: no panic
        log(Level::error, "there is no first domain, so nothing to run: mend the boot entry and reset the machine");
    arch::run_guests();
}

} // namespace

/// On the boot stack, with the boot tables: builds the final ones and moves to the CPU's own stack.
extern "C" [[noreturn]] void start_hypervisor(std::uint64_t boot_information) noexcept {
    for (const Constructor* run = constructors_start; run < constructors_end; ++run) (*run)();
    const bool good = arch::read_boot_information(boot_information);
    open_console();
    set_log_level();
    log(Level::info, "Cero " CERO_VERSION " on a PC with %u CPU%s", platform::acpi_info().cpu_count,
        platform::acpi_info().cpu_count == 1 ? "" : "s");
    report_machine();
    report_options();
    if (!good) log(Level::warning, "the boot loader's information is malformed");
    arch::detect_features();
    arch::apply_patch_sites();
    arch::build_hypervisor_tables(arch::early_memory());
    const platform::AcpiInfo& acpi = platform::acpi_info();
    arch::build_idt();
    arch::lapic::init(acpi.local_apic, !arch::boot_option("nox2apic"));
    arch::lapic::enable();
    arch::make_cpu_areas(acpi, arch::lapic::id(), cpu_limit());
    arch::load_cpu_state(arch::area_of(0));
    arch::continue_on_stack(arch::area_of(0).cpu.stack_top, continue_start);
}

} // namespace cero
