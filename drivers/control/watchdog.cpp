// SPDX-License-Identifier: BSD-2-Clause
// /dev/watchdog: the hypervisor ends this domain (on_watchdog) when its user space stops asking for
// more time. Interface and meaning of 'V' as in Linux.
#include <cero/abi/hypercall.h>
#include <cero/abi/sched.h>

#include <kernel/device.hpp>
#include <kernel/hypercall.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/user_copy.hpp>

namespace drivers {

namespace {

using cero::Errno;
using cero::Result;
using cero::Status;
using kernel::File;

constexpr std::uint32_t watchdog_minor = 130;
// ioctl numbers without direction bits.
constexpr std::uint32_t without_direction = 0x3fff'ffff;
constexpr std::uint32_t keep_alive = 0x0004'5705;
constexpr std::uint32_t set_timeout = 0x0004'5706;
constexpr std::uint32_t get_timeout = 0x0004'5707;

class WatchdogOps final : public kernel::FileOps {
public:
    Status open(File&) noexcept override {
        kernel::MutexGuard guard{mutex_};
        if (is_open_)
            return Errno::busy;
        const long id = ask(id_, seconds_); // one that was left running goes on with its number
        if (id < 0)
            return kernel::errno_of(id);
        if (id_ == 0)
            id_ = static_cast<std::uint32_t>(id);
        is_open_ = true;
        may_stop_ = false;
        return {};
    }
    void release(File&) noexcept override {
        kernel::MutexGuard guard{mutex_};
        is_open_ = false;
        if (!may_stop_) {
            kernel::printk(kernel::Level::warning,
                           "watchdog: closed without 'V'; %u s are left to open it again\n",
                           seconds_);
            return;
        }
        if (ask(id_, 0) == 0)
            id_ = 0;
    }
    Result<std::size_t> write(File&, kernel::IoBuffer& buffer, std::uint64_t) noexcept override {
        kernel::MutexGuard guard{mutex_};
        may_stop_ = false;
        std::size_t done = 0;
        for (char c = 0; buffer.remaining() != 0; ++done) {
            TRY(buffer.get(&c, 1));
            may_stop_ = may_stop_ || c == 'V';
        }
        TRY(more_time());
        return done;
    }
    Result<std::int64_t> ioctl(File&, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        kernel::MutexGuard guard{mutex_};
        switch (command & without_direction) {
        case set_timeout: {
            const auto seconds = TRY(kernel::read_user<std::int32_t>(argument));
            if (seconds <= 0)
                return Errno::inval;
            seconds_ = static_cast<std::uint32_t>(seconds);
            TRY(more_time());
            return std::int64_t{0};
        }
        case keep_alive:
            TRY(more_time());
            return std::int64_t{0};
        case get_timeout:
            TRY(kernel::write_user(argument, static_cast<std::int32_t>(seconds_)));
            return std::int64_t{0};
        default:
            return Errno::notty;
        }
    }

private:
    static long ask(std::uint32_t id, std::uint32_t seconds) noexcept {
        const cero_sched_watchdog request{id, seconds};
        return kernel::hypercall(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_watchdog,
                                 kernel::by_address(&request));
    }
    Status more_time() noexcept {
        const long result = ask(id_, seconds_);
        return kernel::errno_of(result);
    }

    kernel::Mutex mutex_;
    std::uint32_t id_{}; ///< 0: none runs
    std::uint32_t seconds_{30};
    bool is_open_{false};
    bool may_stop_{false};
};
constinit WatchdogOps watchdog;

void start_watchdog() {
    if (!kernel::register_char_device("watchdog", kernel::misc_major, watchdog_minor, watchdog))
        kernel::printk(kernel::Level::error, "watchdog: cannot make the device node\n");
}
CERO_INITCALL(device, start_watchdog);

} // namespace

} // namespace drivers
