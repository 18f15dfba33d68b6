// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/time/clock.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/time/reference.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t nanoseconds = 1000000000;
constexpr std::uint64_t window_us = 2000; ///< of calibration
TscScale scale;
std::uint64_t tsc_hz;
std::uint64_t timer_ticks_per_ns; ///< fixed point, 32 fraction bits
std::uint64_t tsc_ticks_per_ns;   ///< likewise
bool deadline_mode;
std::uint64_t boot_seconds;

std::uint64_t mul_shift_32(std::uint64_t value, std::uint64_t factor) noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Wide>(value) * factor >> 32);
}

/// a * b / c; the quotient fits 64 bits.
std::uint64_t mul_div(std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept {
    std::uint64_t quotient, rest;
    __asm__("mulq %3\n\tdivq %4" : "=&a"(quotient), "=&d"(rest) : "0"(a), "rm"(b), "rm"(c) : "cc");
    return quotient;
}

std::uint64_t scale_ticks(std::uint64_t ticks) noexcept {
    ticks = scale.shift >= 0 ? ticks << scale.shift : ticks >> -scale.shift;
    return mul_shift_32(ticks, scale.mul);
}

/// mul and shift of vcpu_time_info, normalised so that mul has its top bit set.
void set_scale(std::uint64_t hz) noexcept {
    std::int8_t shift = 0;
    std::uint64_t rate = hz;
    while (rate > nanoseconds * 2) {
        rate >>= 1;
        --shift;
    }
    while (rate <= nanoseconds) {
        rate <<= 1;
        ++shift;
    }
    scale.mul = static_cast<std::uint32_t>(mul_div(nanoseconds, 1ull << 32, rate));
    scale.shift = shift;
    scale.khz = hz / 1000;
    tsc_ticks_per_ns = mul_div(hz, 1ull << 32, nanoseconds);
    tsc_hz = hz;
}

/// Frequency that CPUID states; 0 = it does not.
std::uint64_t stated_tsc_hz() noexcept {
    if (features.max_leaf < 0x15) return 0;
    const CpuidResult ratio = cpuid(0x15);
    if (ratio.eax == 0 || ratio.ebx == 0 || ratio.ecx == 0) return 0;
    return static_cast<std::uint64_t>(ratio.ecx) * ratio.ebx / ratio.eax;
}

} // namespace

void init_clock(const platform::AcpiInfo& acpi, bool allow_deadline) noexcept {
    const char* reference = reference_clock::open(acpi);
    lapic::timer_mode_oneshot();
    lapic::set_timer_count(0xffffffff);
    const reference_clock::Sample begin = reference_clock::sample(read_tsc, lapic::timer_count);
    const reference_clock::Span span = reference_clock::measure(window_us);
    const reference_clock::Sample end = reference_clock::sample(read_tsc, lapic::timer_count);
    lapic::set_timer_count(0);
    const std::uint64_t measured = mul_div(span.tsc_ticks, nanoseconds, span.ns);
    const std::uint64_t stated = stated_tsc_hz();
    set_scale(stated != 0 ? stated : measured);
    const std::uint64_t window_ns = mul_div(end.tsc - begin.tsc, nanoseconds, tsc_hz);
    timer_ticks_per_ns = (std::uint64_t{begin.count - end.count} << 32) / window_ns; // it counts down
    deadline_mode = allow_deadline && features.tsc_deadline;
    boot_seconds = reference_clock::read_cmos();
    scale.tsc_base = read_tsc();
    scale.system_base = 0;
    const bool runs_virtualised = (cpuid(1).ecx >> 31 & 1) != 0;
    scale.stable = features.invariant_tsc || runs_virtualised;
    const std::uint64_t timer_khz = mul_shift_32(nanoseconds, timer_ticks_per_ns) / 1000;
    log(Level::info, "clock: TSC %lu.%03lu MHz (%s), timer %s %lu.%03lu MHz", tsc_hz / 1000000, tsc_hz / 1000 % 1000,
        stated != 0 ? "CPUID" : reference, deadline_mode ? "TSC deadline, LAPIC" : "LAPIC one-shot", timer_khz / 1000,
        timer_khz % 1000);
}

void init_cpu_timer() noexcept {
    if (deadline_mode)
        lapic::timer_mode_deadline();
    else
        lapic::timer_mode_oneshot();
}

void delay_microseconds(std::uint64_t count) noexcept {
    const std::uint64_t hz = tsc_hz != 0 ? tsc_hz : nanoseconds;
    const std::uint64_t end = read_tsc() + hz / 1000000 * count;
    while (read_tsc() < end) __builtin_ia32_pause();
}

std::uint64_t read_tsc() noexcept {
    std::uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return static_cast<std::uint64_t>(high) << 32 | low;
}

Nanoseconds system_time() noexcept { return Nanoseconds{scale_ticks(read_tsc() - scale.tsc_base)}; }

void set_timer_deadline(Nanoseconds deadline) noexcept {
    if (deadline.raw() == 0) {
        if (deadline_mode)
            write_msr(Msr::tsc_deadline, 0);
        else
            lapic::set_timer_count(0);
        return;
    }
    const std::uint64_t now = system_time().raw();
    std::uint64_t delta = deadline.raw() > now ? deadline.raw() - now : 0;
    constexpr std::uint64_t farthest = nanoseconds * 3600;
    delta = delta < farthest ? delta : farthest;
    if (deadline_mode) {
        write_msr(Msr::tsc_deadline, read_tsc() + mul_shift_32(delta, tsc_ticks_per_ns) + 1);
        return;
    }
    constexpr std::uint64_t longest = 0xffffffff; // then the timer fires early, and is armed again
    const std::uint64_t ticks = mul_shift_32(delta, timer_ticks_per_ns) + 1;
    lapic::set_timer_count(static_cast<std::uint32_t>(ticks < longest ? ticks : longest));
}

const TscScale& tsc_scale() noexcept { return scale; }
std::uint64_t wall_clock_at_boot() noexcept { return boot_seconds; }

} // namespace cero::arch
