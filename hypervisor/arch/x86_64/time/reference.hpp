// SPDX-License-Identifier: BSD-2-Clause
// The clocks of known frequency that the TSC is measured against (HPET, else PIT), and the CMOS
// clock.
#pragma once

#include <platform/acpi/tables.hpp>

namespace cero::arch::reference_clock {

struct Span {
    std::uint64_t tsc_ticks;
    std::uint64_t ns;
};

/// A counter's value at a reading of the TSC.
struct Sample {
    std::uint64_t tsc;
    std::uint32_t count;
};
/// Reads both together. The best of five tries: the machine may stand still between two readings (SMI, or the
/// host of a virtual machine), and what is measured with such a pair is wrong for as long as the machine runs.
template <typename ReadTsc, typename ReadCounter> Sample sample(ReadTsc&& tsc, ReadCounter&& counter) noexcept {
    Sample best{};
    std::uint64_t narrowest = ~0ull;
    for (unsigned n = 0; n < 5; ++n) {
        const std::uint64_t before = tsc();
        const std::uint32_t count = counter();
        const std::uint64_t width = tsc() - before;
        if (width >= narrowest) continue;
        narrowest = width;
        best = {before + width / 2, count};
    }
    return best;
}

/// Chooses and starts the reference; returns its name.
const char* open(const platform::AcpiInfo& acpi) noexcept;
/// Waits about that long and tells how many TSC ticks went by in how many nanoseconds.
[[nodiscard]] Span measure(std::uint64_t microseconds) noexcept;
/// Seconds since 1970 (UTC) of the battery-backed clock.
[[nodiscard]] std::uint64_t read_cmos() noexcept;

/// Seconds since 1970 of a date in the Gregorian calendar.
constexpr std::uint64_t seconds_of(unsigned year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                                   unsigned second) noexcept {
    // Years begin in March, so that the leap day is the last one.
    const unsigned y = month <= 2 ? year - 1 : year;
    const unsigned m = month <= 2 ? month + 9 : month - 3;
    const std::uint64_t days = 365ull * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    constexpr std::uint64_t days_to_1970 = 719468;
    return ((days - days_to_1970) * 24 + hour) * 3600 + minute * 60 + second;
}
static_assert(seconds_of(1970, 1, 1, 0, 0, 0) == 0);
static_assert(seconds_of(2026, 11, 21, 0, 0, 0) == 1795219200);

} // namespace cero::arch::reference_clock
