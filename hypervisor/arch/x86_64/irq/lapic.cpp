// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/irq/lapic.hpp>

#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/io/port.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>

namespace cero::arch::lapic {
namespace {

// Register offsets in the page; the MSR is 0x800 + reg / 16 [SDM3 "Local APIC Registers"].
constexpr std::uint32_t reg_id = 0x20, reg_task_priority = 0x80, reg_eoi = 0xb0, reg_spurious = 0xf0,
                        reg_icr_low = 0x300, reg_icr_high = 0x310, reg_lvt_timer = 0x320, reg_lvt_thermal = 0x330,
                        reg_lvt_perf = 0x340, reg_lvt_lint0 = 0x350, reg_lvt_lint1 = 0x360, reg_lvt_error = 0x370,
                        reg_initial_count = 0x380, reg_current_count = 0x390, reg_divide = 0x3e0;
constexpr std::uint32_t lvt_masked = 1u << 16, lvt_nmi = 4u << 8, lvt_deadline = 2u << 17;
constexpr std::uint32_t delivery_pending = 1u << 12;
constexpr std::uint64_t base_enable = 1u << 11, base_x2apic = 1u << 10;

bool x2apic;
std::uint64_t page;

std::uint32_t read(std::uint32_t reg) noexcept {
    if (x2apic) return static_cast<std::uint32_t>(read_msr(Msr{0x800 + reg / 16}));
    return mmio_read<std::uint32_t>(page + reg);
}
void write(std::uint32_t reg, std::uint32_t value) noexcept {
    if (x2apic)
        write_msr(Msr{0x800 + reg / 16}, value);
    else
        mmio_write(page + reg, value);
}

void send(std::uint32_t apic_id, std::uint32_t command) noexcept {
    if (x2apic) {
        __asm__ volatile("mfence; lfence" : : : "memory"); // the MSR write is not ordered after stores
        write_msr(Msr{0x830}, static_cast<std::uint64_t>(apic_id) << 32 | command);
        return;
    }
    while ((read(reg_icr_low) & delivery_pending) != 0) __builtin_ia32_pause();
    write(reg_icr_high, apic_id << 24);
    write(reg_icr_low, command);
}

} // namespace

void init(std::uint64_t address, bool allow_x2apic) noexcept {
    const bool already = (read_msr(Msr::apic_base) & base_x2apic) != 0;
    x2apic = features.x2apic && (allow_x2apic || already);
    page = map_device(address, 4096, true);
}

void enable() noexcept {
    const std::uint64_t base = read_msr(Msr::apic_base);
    write_msr(Msr::apic_base, base | base_enable);
    if (x2apic) write_msr(Msr::apic_base, base | base_enable | base_x2apic);
    write(reg_task_priority, 0);
    write(reg_lvt_timer, lvt_masked | vector::timer);
    write(reg_lvt_thermal, lvt_masked);
    write(reg_lvt_perf, lvt_masked);
    write(reg_lvt_lint0, lvt_masked);
    write(reg_lvt_lint1, lvt_nmi);
    write(reg_lvt_error, vector::error);
    write(reg_spurious, 0x100 | vector::spurious);
}

std::uint32_t id() noexcept { return x2apic ? read(reg_id) : read(reg_id) >> 24; }
void eoi() noexcept { write(reg_eoi, 0); }
void send_ipi(std::uint32_t apic_id, unsigned vector) noexcept { send(apic_id, 0x4000 | vector); }
void send_nmi(std::uint32_t apic_id) noexcept { send(apic_id, 0x4400); }
void send_init(std::uint32_t apic_id) noexcept { send(apic_id, 0x4500); }
void send_startup(std::uint32_t apic_id, unsigned startup_page) noexcept { send(apic_id, 0x4600 | startup_page); }

void timer_mode_oneshot() noexcept {
    write(reg_divide, 0xb); // by one
    write(reg_lvt_timer, vector::timer);
}
void timer_mode_deadline() noexcept {
    write(reg_lvt_timer, lvt_deadline | vector::timer);
    __asm__ volatile("mfence" : : : "memory"); // order the mode before the first deadline
}
void set_timer_count(std::uint32_t ticks) noexcept { write(reg_initial_count, ticks); }
std::uint32_t timer_count() noexcept { return read(reg_current_count); }

} // namespace cero::arch::lapic
