// SPDX-License-Identifier: BSD-2-Clause
// What:   timers: set_timer_op, single-shot and periodic vCPU timers; the clock they run on.
// Why:    a timer that is lost stops a kernel; one that comes early breaks its clock.
// How:    arms each, waits, counts the events of VIRQ_TIMER.
// Expect: an event, not before its time; a time in the past at once; none after a stop.
#include "runtime.hpp"

using namespace guest;

namespace {

std::uint32_t port;
Word seen;
constexpr Word ms = 1000000;

bool fired() {
    return event_count[port] != seen;
}
void expect_event(const char* what, Word deadline) {
    check_true(what, wait_for(fired, 2000 * ms));
    check_true("not before its time", system_time() >= deadline);
    seen = event_count[port];
}
void expect_none(const char* what, Word how_long) {
    check_true(what, !wait_for(fired, how_long));
    seen = event_count[port];
}
long single_shot(Word deadline, std::uint32_t flags = 0, Word vcpu = 0) {
    cero_vcpu_set_singleshot_timer argument{deadline, flags, 0};
    return vcpu_op(CERO_VCPUOP_set_singleshot_timer, vcpu, &argument);
}

} // namespace

void guest::test_main() {
    cero_evtchn_bind_virq bind{CERO_VIRQ_TIMER, 0, 0};
    check_equal("bind_virq", event_channel_op(CERO_EVTCHNOP_bind_virq, &bind), 0);
    port = bind.port;
    vcpu_op(CERO_VCPUOP_stop_periodic_timer, 0);
    unmask_port(port);
    enable_events();
    seen = event_count[port];

    Word deadline = system_time() + 20 * ms;
    check_equal("set_timer_op", set_timer_op(deadline), 0);
    expect_event("its event", deadline);
    expect_none("only one", 30 * ms);
    check_equal("set_timer_op in the past", set_timer_op(1), 0);
    expect_event("its event", 0);
    check_equal("set_timer_op", set_timer_op(system_time() + 30 * ms), 0);
    check_equal("set_timer_op stop", set_timer_op(0), 0);
    expect_none("none after a stop", 60 * ms);

    deadline = system_time() + 20 * ms;
    check_equal("single shot", single_shot(deadline), 0);
    expect_event("its event", deadline);
    for (const Word past : {Word{1}, Word{0}}) {
        check_equal("single shot in the past", single_shot(past), 0);
        expect_event("its event", 0);
    }
    check_equal("single shot", single_shot(system_time() + 30 * ms), 0);
    check_equal("single shot stop", vcpu_op(CERO_VCPUOP_stop_singleshot_timer, 0), 0);
    expect_none("none after a stop", 60 * ms);
    check_equal("single shot, later", single_shot(system_time() + 1000 * ms), 0);
    deadline = system_time() + 10 * ms;
    check_equal("single shot, sooner: it replaces the other", single_shot(deadline), 0);
    expect_event("its event", deadline);
    check_equal("single shot of another vCPU", single_shot(deadline, 0, 1), -CERO_ENOENT);

    cero_vcpu_set_periodic_timer period{5 * ms};
    check_equal("periodic", vcpu_op(CERO_VCPUOP_set_periodic_timer, 0, &period), 0);
    const Word began = system_time();
    check_true("ten periods", wait_for([] { return event_count[port] >= seen + 10; }, 3000 * ms));
    check_true("take at least ten periods", system_time() - began >= 9 * 5 * ms);
    check_equal("periodic stop", vcpu_op(CERO_VCPUOP_stop_periodic_timer, 0), 0);
    seen = event_count[port];
    expect_none("none after a stop", 40 * ms);
    period.period_ns = 1000;
    check_equal("period below 1 ms", vcpu_op(CERO_VCPUOP_set_periodic_timer, 0, &period),
                -CERO_EINVAL);
    check_equal(
        "bad argument",
        hypercall(CERO_HYPERCALL_vcpu_op, CERO_VCPUOP_set_singleshot_timer, 0, unmapped_address),
        -CERO_EFAULT);

    // A blocked vCPU wakes for it.
    disable_events();
    deadline = system_time() + 20 * ms;
    single_shot(deadline);
    check_equal("block", sched_op(CERO_SCHEDOP_block), 0);
    check_true("woken by the timer, not before", system_time() >= deadline);
    check_true("its event was delivered", wait_for(fired, 100 * ms));
    check_equal("block has lifted the mask", vcpu_info().evtchn_upcall_mask, 0);
}
