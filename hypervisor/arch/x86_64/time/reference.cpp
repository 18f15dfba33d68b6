// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/time/reference.hpp>

#include <arch/api/clock.hpp>
#include <arch/x86_64/io/port.hpp>
#include <arch/x86_64/mm/hv_tables.hpp>

namespace cero::arch::reference_clock {
namespace {

// [IA-PC HPET specification 1.0a]
constexpr std::uint64_t hpet_capabilities = 0, hpet_configuration = 0x10, hpet_counter = 0xf0;
constexpr std::uint64_t max_period_fs = 100000000;
std::uint64_t hpet;      ///< virtual address; 0 = not used
std::uint64_t period_fs; ///< femtoseconds per HPET tick

// [82C54 data sheet]; channel 2 is gated by port 0x61.
constexpr std::uint16_t pit_channel2 = 0x42, pit_command = 0x43, speaker = 0x61;
constexpr std::uint64_t pit_hz = 1193182;

std::uint32_t hpet_count() noexcept { return mmio_read<std::uint32_t>(hpet + hpet_counter); }

Span measure_hpet(std::uint64_t microseconds) noexcept {
    const Sample start = sample(read_tsc, hpet_count);
    const std::uint64_t ticks = microseconds * 1000000000 / period_fs;
    while (hpet_count() - start.count < ticks) __builtin_ia32_pause();
    const Sample end = sample(read_tsc, hpet_count);
    return {end.tsc - start.tsc, std::uint64_t{end.count - start.count} * period_fs / 1000000};
}

Span measure_pit(std::uint64_t microseconds) noexcept {
    const auto count = static_cast<std::uint16_t>(pit_hz * microseconds / 1000000);
    out8(speaker, static_cast<std::uint8_t>((in8(speaker) & ~2) | 1));
    out8(pit_command, 0xb0); // channel 2, both bytes, mode 0
    out8(pit_channel2, static_cast<std::uint8_t>(count));
    out8(pit_channel2, static_cast<std::uint8_t>(count >> 8));
    const std::uint64_t start = read_tsc();
    while ((in8(speaker) & 0x20) == 0) __builtin_ia32_pause();
    return {read_tsc() - start, count * 1000000000ull / pit_hz};
}

std::uint8_t cmos(std::uint8_t index) noexcept {
    out8(0x70, index);
    return in8(0x71);
}

} // namespace

const char* open(const platform::AcpiInfo& acpi) noexcept {
    if (acpi.hpet != 0) {
        hpet = map_device(acpi.hpet, 1024, false); // needed at boot only: firmware code looks at it
        period_fs = hpet == 0 ? 0 : mmio_read<std::uint64_t>(hpet + hpet_capabilities) >> 32;
        if (period_fs == 0 || period_fs > max_period_fs) hpet = 0;
    }
    if (hpet == 0) return "PIT";
    mmio_write<std::uint64_t>(hpet + hpet_configuration, 1); // count, no legacy routing
    return "HPET";
}

Span measure(std::uint64_t microseconds) noexcept {
    return hpet != 0 ? measure_hpet(microseconds) : measure_pit(microseconds);
}

std::uint64_t read_cmos() noexcept {
    // [MC146818 data sheet]: register A bit 7 while updating, B bit 2 binary, B bit 1 24 hours.
    for (unsigned tries = 0; (cmos(0xa) & 0x80) != 0 && tries < 100000; ++tries) __builtin_ia32_pause();
    const std::uint8_t mode = cmos(0xb);
    const auto number = [&](std::uint8_t index) {
        const unsigned raw = cmos(index);
        return (mode & 4) != 0 ? raw : (raw >> 4) * 10 + (raw & 15);
    };
    const std::uint8_t raw_hour = cmos(4);
    unsigned hour = raw_hour & 0x7f;
    if ((mode & 4) == 0) hour = (hour >> 4) * 10 + (hour & 15);
    if ((mode & 2) == 0) hour = hour % 12 + ((raw_hour & 0x80) != 0 ? 12 : 0);
    return seconds_of(2000 + number(9), number(8), number(7), hour, number(2), number(0));
}

} // namespace cero::arch::reference_clock
