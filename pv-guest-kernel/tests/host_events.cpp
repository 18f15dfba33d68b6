// SPDX-License-Identifier: BSD-2-Clause
// Stand-ins for what event.cpp calls.
#include "host_events.hpp"

#include "event/upcall.hpp"
#include "sched/run_state.hpp"
#include "sched/timer_queue.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>

#include <cstdio>
#include <cstdlib>

namespace host {

kernel::Nanoseconds now = 1'000'000'000;
kernel::Nanoseconds stolen;
bool thread_wants_cpu;
unsigned closes;

namespace {
kernel::TimerQueue& timers() {
    static kernel::TimerQueue queue;
    return queue;
}
bool is_deliverable() {
    return kernel::this_vcpu_info().evtchn_upcall_pending != 0 && !kernel::events_masked();
}
} // namespace

void send(kernel::event::Port port) {
    auto& info = kernel::shared_info();
    const std::uint64_t bit = std::uint64_t{1} << (port % 64);
    const bool was_pending = (info.evtchn_pending[port / 64] & bit) != 0;
    info.evtchn_pending[port / 64] |= bit;
    if (was_pending || (info.evtchn_mask[port / 64] & bit) != 0)
        return;
    kernel::this_vcpu_info().evtchn_pending_sel |= std::uint64_t{1} << (port / 64);
    kernel::this_vcpu_info().evtchn_upcall_pending = 1;
}

void upcall(kernel::Nanoseconds cost) {
    if (!is_deliverable())
        return;
    now += cost;
    kernel::mask_events();
    kernel::dispatch_events();
    kernel::this_vcpu_info().evtchn_upcall_mask = 0;
}

void run_timers() {
    timers().run_expired(now);
}
kernel::Nanoseconds next_timer() {
    return timers().earliest();
}

} // namespace host

namespace kernel {

EventGuard::EventGuard() noexcept : was_masked_{events_masked()} {
    mask_events();
}
EventGuard::~EventGuard() {
    if (!was_masked_)
        unmask_events();
}

void panic(const char* format, ...) {
    std::fputs(format, stderr);
    std::abort();
}

Nanoseconds monotonic_ns() noexcept {
    return host::now;
}
Nanoseconds stolen_ns() noexcept {
    return host::stolen;
}
void watch_stolen_time() noexcept {}
bool any_thread_wants_cpu() noexcept {
    return host::thread_wants_cpu;
}
void Timer::arm(Nanoseconds deadline) noexcept {
    host::timers().insert(*this, deadline);
}
void Timer::cancel() noexcept {
    TimerQueue::remove(*this);
}

namespace hyper {
void deliver_events() noexcept {
    host::upcall(500);
}
long event_channel_op(unsigned command, void*) noexcept {
    if (command != CERO_EVTCHNOP_close)
        std::abort();
    ++host::closes;
    return 0;
}
} // namespace hyper

} // namespace kernel
