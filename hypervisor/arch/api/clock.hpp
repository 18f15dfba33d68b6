// SPDX-License-Identifier: BSD-2-Clause
// System time, this CPU's one-shot timer, the TSC's scale and the wall clock.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

/// Nanoseconds since the TSC was calibrated at boot; monotonic across CPUs.
[[nodiscard]] Nanoseconds system_time() noexcept;

/// Arms this CPU's timer for an absolute time (0 = never). A time in the past fires at once. On
/// expiry Softirq::timer is raised on this CPU.
void set_timer_deadline(Nanoseconds deadline) noexcept;

/// ns = system_base + (((tsc - tsc_base) << shift) * mul >> 32); the form of vcpu_time_info.
struct TscScale {
    std::uint64_t tsc_base;
    std::uint64_t system_base;
    std::uint32_t mul;
    std::int8_t shift;
    bool stable; ///< invariant and equal on all CPUs
    std::uint64_t khz;
};
[[nodiscard]] const TscScale& tsc_scale() noexcept;
[[nodiscard]] std::uint64_t read_tsc() noexcept;

/// Seconds since 1970 (UTC) at system time 0, from the CMOS clock.
[[nodiscard]] std::uint64_t wall_clock_at_boot() noexcept;

} // namespace cero::arch
