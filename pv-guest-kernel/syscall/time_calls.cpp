// SPDX-License-Identifier: BSD-2-Clause
// System calls on clocks, sleeping and interval timers.
#include "process/process.hpp"

#include <kernel/syscall.hpp>
#include <kernel/time.hpp>

namespace kernel {
namespace {

struct Timespec {
    std::int64_t seconds;
    std::int64_t nanoseconds;
};
struct Timeval {
    std::int64_t seconds;
    std::int64_t microseconds;
};
struct IntervalValue {
    Timeval interval;
    Timeval value;
};

enum Clock {
    realtime = 0,
    monotonic = 1,
    process_cpu = 2,
    thread_cpu = 3,
    monotonic_raw = 4,
    realtime_coarse = 5,
    monotonic_coarse = 6,
    boottime = 7,
    realtime_alarm = 8,
    boottime_alarm = 9
};

Timespec to_timespec(Nanoseconds time) noexcept {
    return {static_cast<std::int64_t>(time / ns_per_s), static_cast<std::int64_t>(time % ns_per_s)};
}
Timeval to_timeval(Nanoseconds time) noexcept {
    return {static_cast<std::int64_t>(time / ns_per_s),
            static_cast<std::int64_t>(time % ns_per_s / ns_per_us)};
}
Result<Nanoseconds> from_user(UserAddress address) noexcept {
    const auto time = TRY(read_user<Timespec>(address));
    if (time.seconds < 0 || time.nanoseconds < 0 ||
        time.nanoseconds >= static_cast<std::int64_t>(ns_per_s))
        return Errno::inval;
    constexpr std::int64_t longest = 1LL << 33; // seconds; beyond that, forever
    return (time.seconds > longest ? static_cast<Nanoseconds>(longest)
                                   : static_cast<Nanoseconds>(time.seconds)) *
               ns_per_s +
           static_cast<Nanoseconds>(time.nanoseconds);
}
Result<Nanoseconds> from_timeval(const Timeval& time) noexcept {
    if (time.seconds < 0 || time.microseconds < 0 || time.microseconds >= 1'000'000)
        return Errno::inval;
    constexpr std::int64_t longest = 1LL << 33;
    return static_cast<Nanoseconds>(time.seconds < longest ? time.seconds : longest) * ns_per_s +
           static_cast<Nanoseconds>(time.microseconds) * ns_per_us;
}

Result<Nanoseconds> read_clock(int clock) noexcept {
    switch (clock) {
    case realtime:
    case realtime_coarse:
    case realtime_alarm:
        return wall_ns();
    case monotonic:
    case monotonic_raw:
    case monotonic_coarse:
    case boottime:
    case boottime_alarm:
        return monotonic_ns();
    case thread_cpu:
        return cycles_to_ns(current()->user_cycles + current()->system_cycles);
    case process_cpu: {
        Process& process = *current_process();
        std::uint64_t cycles = process.user_cycles + process.system_cycles;
        for (const Thread& thread : process.threads)
            cycles += thread.user_cycles + thread.system_cycles;
        return cycles_to_ns(cycles);
    }
    default:
        return Errno::inval;
    }
}

Status sys_clock_gettime(int clock, UserAddress out) {
    const Nanoseconds now = TRY(read_clock(clock));
    return write_user(out, to_timespec(now));
}
CERO_SYSCALL(228, clock_gettime);

Status sys_clock_getres(int clock, UserAddress out) {
    static_cast<void>(TRY(read_clock(clock)));
    return out == 0 ? Status{} : write_user(out, Timespec{0, 1});
}
CERO_SYSCALL(229, clock_getres);

Status sys_clock_settime(int clock, UserAddress in) {
    if (clock != realtime)
        return Errno::inval;
    if (current_credentials().euid != 0)
        return Errno::perm;
    set_wall_ns(TRY(from_user(in)));
    return {};
}
CERO_SYSCALL(227, clock_settime);

Status sys_gettimeofday(UserAddress out, UserAddress zone) {
    if (out != 0)
        TRY(write_user(out, to_timeval(wall_ns())));
    if (zone != 0)
        TRY(write_user(zone, std::uint64_t{0}));
    return {};
}
CERO_SYSCALL(96, gettimeofday);

Status sys_settimeofday(UserAddress in, UserAddress) {
    if (current_credentials().euid != 0)
        return Errno::perm;
    if (in != 0) {
        const auto time = TRY(read_user<Timeval>(in));
        set_wall_ns(TRY(from_timeval(time)));
    }
    return {};
}
CERO_SYSCALL(164, settimeofday);

Result<std::int64_t> sys_time(UserAddress out) {
    const auto seconds = static_cast<std::int64_t>(wall_ns() / ns_per_s);
    if (out != 0)
        TRY(write_user(out, seconds));
    return seconds;
}
CERO_SYSCALL(201, time);

Status sleep_until(Nanoseconds deadline, UserAddress remaining) noexcept {
    const Status slept = sleep_until_interruptible(deadline);
    if (slept)
        return {};
    if (remaining != 0) {
        const Nanoseconds now = monotonic_ns();
        TRY(write_user(remaining, to_timespec(deadline > now ? deadline - now : 0)));
    }
    return Errno::intr;
}

Status sys_nanosleep(UserAddress time, UserAddress remaining) {
    return sleep_until(monotonic_ns() + TRY(from_user(time)), remaining);
}
CERO_SYSCALL(35, nanosleep);

Status sys_clock_nanosleep(int clock, int flags, UserAddress time, UserAddress remaining) {
    constexpr int absolute = 1;
    const Nanoseconds value = TRY(from_user(time));
    const Nanoseconds now = TRY(read_clock(clock));
    if ((flags & absolute) == 0)
        return sleep_until(monotonic_ns() + value, remaining);
    return value <= now ? Status{} : sleep_until(monotonic_ns() + (value - now), 0);
}
CERO_SYSCALL(230, clock_nanosleep);

IntervalValue alarm_value(const Process& process) noexcept {
    const Nanoseconds now = monotonic_ns();
    const Nanoseconds left = !process.alarm.armed()           ? 0
                             : process.alarm.deadline() > now ? process.alarm.deadline() - now
                                                              : 1;
    return {to_timeval(process.alarm_interval), to_timeval(left)};
}

Status sys_getitimer(int which, UserAddress out) {
    if (which != 0)
        return Errno::inval;
    return write_user(out, alarm_value(*current_process()));
}
CERO_SYSCALL(36, getitimer);

Status sys_setitimer(int which, UserAddress in, UserAddress old) {
    if (which != 0) // ITIMER_VIRTUAL and ITIMER_PROF
        return Errno::inval;
    Process& process = *current_process();
    const IntervalValue before = alarm_value(process);
    if (in != 0) {
        const auto wanted = TRY(read_user<IntervalValue>(in));
        const Nanoseconds interval = TRY(from_timeval(wanted.interval));
        const Nanoseconds value = TRY(from_timeval(wanted.value));
        process.alarm.cancel();
        process.alarm_interval = interval;
        if (value != 0)
            process.alarm.arm(monotonic_ns() + value);
    }
    return old == 0 ? Status{} : write_user(old, before);
}
CERO_SYSCALL(38, setitimer);

Result<std::int64_t> sys_alarm(std::uint32_t seconds) {
    Process& process = *current_process();
    const Timeval left = alarm_value(process).value;
    process.alarm.cancel();
    process.alarm_interval = 0;
    if (seconds != 0)
        process.alarm.arm(monotonic_ns() + seconds * ns_per_s);
    return left.seconds + (left.microseconds != 0 ? 1 : 0);
}
CERO_SYSCALL(37, alarm);

Result<std::int64_t> sys_adjtimex(UserAddress) {
    return Errno::perm;
}
CERO_SYSCALL(159, adjtimex);

} // namespace
} // namespace kernel
