// SPDX-License-Identifier: BSD-2-Clause
// Backends against a front end that begins, fails and begins again: what reaches dom0's log.
#include "host_guest.hpp"
#include "xenbus/backend.hpp"

#include <kernel/log_limiter.hpp>
#include <kernel/thread.hpp>

#include <cero/lib/format.hpp>

#include <gtest/gtest.h>

#include <cstdlib>

// The store: it takes what is written, and holds nothing.
namespace drivers::xenbus {

NodePath::NodePath(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    cero::vformat_to(text_, sizeof text_, format, args);
    va_end(args);
}
Value::~Value() = default;
const char* Value::next(const char*) const noexcept {
    return nullptr;
}
Result<Value> read(const char*, Transaction) {
    return Errno::noent;
}
Result<std::uint64_t> read_number(const char*, Transaction) {
    return Errno::noent;
}
Result<Value> directory(const char*, Transaction) {
    return Errno::noent;
}
bool exists(const char*) {
    return false;
}
Status write(const char*, const char*, Transaction) {
    return {};
}
Status write_format(const char*, Transaction, const char*, ...) {
    return {};
}
Status add_watch(Watch&) {
    return {};
}
void remove_watch(Watch&) {}
bool has_store() noexcept {
    return false;
}

} // namespace drivers::xenbus

namespace kernel {

Result<Thread*> spawn_kernel_thread(const char*, void (*)(void*), void*) noexcept {
    return cero::Errno::nomem;
}
void panic(const char*, ...) {
    std::abort();
}

} // namespace kernel

using namespace drivers;
using cero::Errno;
using cero::Status;
using drivers::xenbus::State;
using host::HostGuest;

namespace {

constexpr kernel::Nanoseconds second = kernel::ns_per_s;

class LogTest : public ::testing::Test {
protected:
    LogTest() {
        HostGuest::now = 1000 * second;
        host::log_lines.clear();
    }
    ~LogTest() override { HostGuest::now = 0; }
};

TEST_F(LogTest, AFewLinesAtOnceThenOnePerMinute) {
    kernel::LogLimiter limiter;
    unsigned lines = 0;
    for (unsigned i = 0; i < 100000; ++i)
        lines += limiter.admit(HostGuest::now + i * second / 1000);
    EXPECT_EQ(lines, 5u + 1u); // 100 s
    EXPECT_EQ(limiter.take_left_out(), 100000u - 6u);
    EXPECT_EQ(limiter.take_left_out(), 0u);
    lines = 0;
    for (unsigned i = 0; i < 3600; ++i)
        lines += limiter.admit(HostGuest::now + (100 + i) * second);
    EXPECT_EQ(lines, 60u);
    for (unsigned i = 0; i < 5; ++i) // five minutes of silence give all of them back, not more
        EXPECT_TRUE(limiter.admit(HostGuest::now + (3700 + 3600) * second)) << i;
    EXPECT_FALSE(limiter.admit(HostGuest::now + (3700 + 3600) * second));
}

TEST_F(LogTest, TheNextLineSaysHowManyWereLeftOut) {
    kernel::LogLimiter limiter;
    for (unsigned i = 0; i < 12; ++i)
        printk_limited(limiter, kernel::Level::error, "line %u\n", i);
    EXPECT_EQ(host::log_lines.size(), 5u);
    HostGuest::now += kernel::LogLimiter::interval;
    printk_limited(limiter, kernel::Level::error, "line %u\n", 12u);
    ASSERT_EQ(host::log_lines.size(), 7u);
    EXPECT_EQ(host::log_lines[5], "(7 lines like the next one were left out)\n");
    EXPECT_EQ(host::log_lines[6], "line 12\n");
}

/// A backend whose front ends never offer what is needed.
struct Hopeless final : xenbus::BackendDevice {
    explicit Hopeless(const xenbus::NodeInfo& info) : BackendDevice{info} {}
    Status start() override { return set_state(State::init_wait); }
    Status connect() override { return Errno::noent; }
    void disconnect() override {}
};

TEST_F(LogTest, AFrontEndThatNeverConnectsIsNotHeardForEver) {
    Hopeless device{xenbus::NodeInfo{xenbus::NodePath{"backend/vif/7/0"},
                                     xenbus::NodePath{"/local/domain/7/device/vif/0"}, 7, 0}};
    ASSERT_TRUE(device.start());
    for (unsigned i = 0; i < 1000; ++i) {
        ASSERT_EQ(device.state(), State::init_wait);
        device.other_changed(State::initialised);
        ASSERT_EQ(device.state(), State::closing);
        device.other_changed(State::closed);
        device.other_changed(State::initialising);
    }
    EXPECT_EQ(host::log_lines.size(), kernel::LogLimiter::burst);
    EXPECT_EQ(host::log_lines[0],
              "xenbus: backend/vif/7/0: cannot connect to the front end (errno 2)\n");
}

} // namespace
