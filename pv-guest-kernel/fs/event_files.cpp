// SPDX-License-Identifier: BSD-2-Clause
// eventfd, timerfd and signalfd: counters and signals as files.
#include "syscall_support.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

#include <cstring>
#include <new>

namespace kernel {

namespace {

constexpr std::uint64_t counter_limit = ~std::uint64_t{0} - 1;

struct EventCounter {
    Spinlock lock;
    PollQueue queue;
    std::uint64_t count{};
    bool semaphore{};
};

class EventOps final : public FileOps {
public:
    void release(File& file) noexcept override { delete &of(file); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        EventCounter& counter = of(file);
        if (buffer.remaining() < 8)
            return Errno::inval;
        std::uint64_t value = 0;
        for (;;) {
            {
                SpinGuard guard{counter.lock};
                value = counter.semaphore && counter.count != 0 ? 1 : counter.count;
                counter.count -= value;
            }
            if (value != 0)
                break;
            if (file.is_nonblocking())
                return Errno::again;
            TRY(counter.queue.waiters.wait_interruptible([&] { return counter.count != 0; }));
        }
        counter.queue.notify(poll_event::writable);
        return buffer.put(&value, sizeof(value));
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        EventCounter& counter = of(file);
        std::uint64_t value = 0;
        if (buffer.remaining() < 8)
            return Errno::inval;
        TRY(buffer.get(&value, sizeof(value)));
        if (value > counter_limit)
            return Errno::inval;
        for (;;) {
            {
                SpinGuard guard{counter.lock};
                if (counter_limit - counter.count >= value) {
                    counter.count += value;
                    break;
                }
            }
            if (file.is_nonblocking())
                return Errno::again;
            TRY(counter.queue.waiters.wait_interruptible(
                [&] { return counter_limit - counter.count >= value; }));
        }
        counter.queue.notify(poll_event::readable);
        return std::size_t{8};
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        EventCounter& counter = of(file);
        if (table != nullptr)
            table->watch(counter.queue);
        return (counter.count != 0 ? poll_event::readable : 0U) |
               (counter.count < counter_limit ? poll_event::writable : 0U);
    }

private:
    static EventCounter& of(File& file) noexcept { return *static_cast<EventCounter*>(file.data); }
};
EventOps event_ops;

Result<int> sys_eventfd2(unsigned initial, std::uint32_t flags) noexcept {
    constexpr std::uint32_t semaphore = 1;
    if ((flags & ~(semaphore | open_flag::cloexec | open_flag::nonblock)) != 0)
        return Errno::inval;
    auto* counter = new (std::nothrow) EventCounter;
    if (counter == nullptr)
        return Errno::nomem;
    counter->count = initial;
    counter->semaphore = (flags & semaphore) != 0;
    auto file = File::create_anonymous(event_ops, "[eventfd]", counter,
                                       open_flag::rdwr | (flags & open_flag::nonblock));
    if (!file) {
        delete counter;
        return file.error();
    }
    return current_files().install(*std::move(file), (flags & open_flag::cloexec) != 0);
}
Result<int> sys_eventfd(unsigned initial) noexcept {
    return sys_eventfd2(initial, 0);
}

/// Deadlines are kept in monotonic time; a wall-clock timer converts when it is set.
struct TimerFile {
    TimerFile() noexcept : timer{expired, this} {}
    static void expired(void* context) noexcept {
        auto& self = *static_cast<TimerFile*>(context);
        {
            SpinGuard guard{self.lock};
            ++self.expirations;
            if (self.interval != 0) {
                self.deadline += self.interval;
                const Nanoseconds now = monotonic_ns();
                if (self.deadline <= now) {
                    const Nanoseconds missed = (now - self.deadline) / self.interval + 1;
                    self.expirations += missed;
                    self.deadline += missed * self.interval;
                }
                self.timer.arm(self.deadline);
            } else {
                self.deadline = 0;
            }
        }
        self.queue.notify(poll_event::readable);
    }
    Spinlock lock;
    PollQueue queue;
    std::uint64_t expirations{};
    Nanoseconds deadline{}; ///< 0: not armed
    Nanoseconds interval{};
    bool wall_clock{};
    Timer timer;
};

class TimerOps final : public FileOps {
public:
    void release(File& file) noexcept override { delete &of(file); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        TimerFile& timer = of(file);
        if (buffer.remaining() < 8)
            return Errno::inval;
        std::uint64_t count = 0;
        for (;;) {
            {
                SpinGuard guard{timer.lock};
                count = std::exchange(timer.expirations, 0);
            }
            if (count != 0)
                return buffer.put(&count, sizeof(count));
            if (file.is_nonblocking())
                return Errno::again;
            TRY(timer.queue.waiters.wait_interruptible([&] { return timer.expirations != 0; }));
        }
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        TimerFile& timer = of(file);
        if (table != nullptr)
            table->watch(timer.queue);
        return timer.expirations != 0 ? poll_event::readable : 0;
    }
    static TimerFile& of(File& file) noexcept { return *static_cast<TimerFile*>(file.data); }
};
TimerOps timer_ops;

struct UserTimerSpec {
    UserTimespec interval;
    UserTimespec value;
};

Result<Ref<File>> timer_file_of(int fd) noexcept {
    auto file = TRY(io_file_of(fd));
    if (file->ops != &timer_ops)
        return Errno::inval;
    return file;
}

UserTimerSpec remaining_time(TimerFile& timer) noexcept {
    const Nanoseconds now = monotonic_ns();
    const Nanoseconds left = timer.deadline == 0    ? 0
                             : timer.deadline > now ? timer.deadline - now
                                                    : 1;
    return {UserTimespec::from_ns(timer.interval), UserTimespec::from_ns(left)};
}

Result<int> sys_timerfd_create(int clock, std::uint32_t flags) noexcept {
    enum : int { realtime = 0, monotonic = 1, boottime = 7 };
    if ((clock != realtime && clock != monotonic && clock != boottime) ||
        (flags & ~(open_flag::cloexec | open_flag::nonblock)) != 0)
        return Errno::inval;
    auto* timer = new (std::nothrow) TimerFile;
    if (timer == nullptr)
        return Errno::nomem;
    timer->wall_clock = clock == realtime;
    auto file = File::create_anonymous(timer_ops, "[timerfd]", timer,
                                       open_flag::rdwr | (flags & open_flag::nonblock));
    if (!file) {
        delete timer;
        return file.error();
    }
    return current_files().install(*std::move(file), (flags & open_flag::cloexec) != 0);
}

Status sys_timerfd_settime(int fd, int flags, UserAddress fresh, UserAddress old) noexcept {
    constexpr int absolute = 1;
    auto file = TRY(timer_file_of(fd));
    TimerFile& timer = TimerOps::of(*file);
    const auto spec = TRY(read_user<UserTimerSpec>(fresh));
    if (!spec.value.is_valid() || !spec.interval.is_valid())
        return Errno::inval;
    if (old != 0)
        TRY(write_user(old, remaining_time(timer)));
    timer.timer.cancel();
    SpinGuard guard{timer.lock};
    timer.expirations = 0;
    timer.interval = spec.interval.to_ns();
    Nanoseconds deadline = spec.value.to_ns();
    if (deadline != 0) {
        const Nanoseconds now = monotonic_ns();
        if ((flags & absolute) == 0) {
            deadline += now;
        } else if (timer.wall_clock) {
            const Nanoseconds wall = wall_ns();
            deadline = deadline > wall ? now + (deadline - wall) : now;
        }
        timer.timer.arm(deadline);
    }
    timer.deadline = deadline;
    return {};
}

Status sys_timerfd_gettime(int fd, UserAddress out) noexcept {
    auto file = TRY(timer_file_of(fd));
    return write_user(out, remaining_time(TimerOps::of(*file)));
}

struct SignalSet {
    std::uint64_t mask;
};

struct UserSignalInfo {
    std::uint32_t signal;
    std::int32_t error, code;
    std::uint32_t pid, uid;
    std::int32_t fd;
    std::uint32_t timer, band, overrun, trap;
    std::int32_t status, integer;
    std::uint8_t rest[80];
};
static_assert(sizeof(UserSignalInfo) == 128);

class SignalOps final : public FileOps {
public:
    void release(File& file) noexcept override { delete &of(file); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        const std::size_t before = buffer.done();
        if (buffer.remaining() < sizeof(UserSignalInfo))
            return Errno::inval;
        for (;;) {
            const std::uint64_t mask = of(file).mask;
            while (buffer.remaining() >= sizeof(UserSignalInfo)) {
                const TakenSignal taken = take_pending_signal(mask);
                if (taken.signal == 0)
                    break;
                UserSignalInfo info{};
                info.signal = static_cast<std::uint32_t>(taken.signal);
                info.code = taken.code;
                info.pid = static_cast<std::uint32_t>(taken.pid);
                info.uid = taken.uid;
                info.status = taken.status;
                TRY(buffer.put(&info, sizeof(info)));
            }
            if (buffer.done() != before)
                return buffer.done() - before;
            if (file.is_nonblocking())
                return Errno::again;
            TRY(signal_arrivals().waiters.wait_interruptible(
                [&] { return (pending_signals() & mask) != 0; }));
        }
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        if (table != nullptr)
            table->watch(signal_arrivals());
        return (pending_signals() & of(file).mask) != 0 ? poll_event::readable : 0;
    }
    static SignalSet& of(File& file) noexcept { return *static_cast<SignalSet*>(file.data); }
};
SignalOps signal_ops;

Result<int> sys_signalfd4(int fd, UserAddress mask, std::size_t size,
                          std::uint32_t flags) noexcept {
    if (size != 8 || (flags & ~(open_flag::cloexec | open_flag::nonblock)) != 0)
        return Errno::inval;
    const auto wanted = TRY(read_user<std::uint64_t>(mask));
    if (fd != -1) {
        auto file = TRY(io_file_of(fd));
        if (file->ops != &signal_ops)
            return Errno::inval;
        SignalOps::of(*file).mask = wanted;
        return fd;
    }
    auto* set = new (std::nothrow) SignalSet{wanted};
    if (set == nullptr)
        return Errno::nomem;
    auto file = File::create_anonymous(signal_ops, "[signalfd]", set,
                                       open_flag::rdwr | (flags & open_flag::nonblock));
    if (!file) {
        delete set;
        return file.error();
    }
    return current_files().install(*std::move(file), (flags & open_flag::cloexec) != 0);
}
Result<int> sys_signalfd(int fd, UserAddress mask, std::size_t size) noexcept {
    return sys_signalfd4(fd, mask, size, 0);
}

CERO_SYSCALL(282, signalfd);
CERO_SYSCALL(283, timerfd_create);
CERO_SYSCALL(284, eventfd);
CERO_SYSCALL(286, timerfd_settime);
CERO_SYSCALL(287, timerfd_gettime);
CERO_SYSCALL(289, signalfd4);
CERO_SYSCALL(290, eventfd2);

} // namespace
} // namespace kernel
