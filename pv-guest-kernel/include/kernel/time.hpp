// SPDX-License-Identifier: BSD-2-Clause
// Clocks and one-shot timers.
#pragma once

#include <kernel/types.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

/// Nanoseconds since the hypervisor started this domain's clock; monotonic, any context.
[[nodiscard]] Nanoseconds monotonic_ns() noexcept;
/// Nanoseconds since 1970-01-01 UTC.
[[nodiscard]] Nanoseconds wall_ns() noexcept;
/// Shifts the wall clock (clock_settime).
void set_wall_ns(Nanoseconds now) noexcept;

/// Runs callback(context) in event context at a time. The owner keeps it alive while armed.
class Timer {
public:
    using Callback = void (*)(void*);
    Timer(Callback callback, void* context) noexcept : callback_{callback}, context_{context} {}
    ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// Any context; replaces an earlier deadline.
    void arm(Nanoseconds deadline) noexcept;
    void cancel() noexcept;
    [[nodiscard]] bool armed() const noexcept { return link_.is_linked(); }
    [[nodiscard]] Nanoseconds deadline() const noexcept { return deadline_; }

private:
    friend class TimerQueue;
    Callback callback_;
    void* context_;
    Nanoseconds deadline_{};
    cero::ListLink link_{};
};

} // namespace kernel
