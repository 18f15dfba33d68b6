// SPDX-License-Identifier: BSD-2-Clause
// What:   sched_op: yield, block, poll, shutdown codes; bad input.
// Why:    an idle guest must cost nothing and still wake for each event; PV spinlocks poll masked
// ports. How:    blocks and polls with events pending, with timers, with limits. Expect: 0, and
// waking exactly as documented in docs/abi/sched.md.
#include "runtime.hpp"

using namespace guest;

namespace {

constexpr Word ms = 1000000;
std::uint32_t ipi;

long poll(const std::uint32_t* ports, std::uint32_t count, Word timeout) {
    cero_sched_poll argument{address(ports), count, 0, timeout};
    return sched_op(CERO_SCHEDOP_poll, &argument);
}
void send() {
    cero_evtchn_send argument{ipi};
    event_channel_op(CERO_EVTCHNOP_send, &argument);
}

} // namespace

void guest::test_main() {
    cero_evtchn_bind_ipi bind{0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind);
    ipi = bind.port;

    check_equal("yield", sched_op(CERO_SCHEDOP_yield), 0);

    disable_events();
    unmask_port(ipi);
    send();
    check_equal("block with an event pending", sched_op(CERO_SCHEDOP_block), 0);
    check_equal("it was delivered", static_cast<long>(event_count[ipi]), 1);
    check_equal("the mask was lifted", vcpu_info().evtchn_upcall_mask, 0);
    disable_events();

    mask_port(ipi);
    send();
    const Word before = system_time();
    check_equal("poll of a pending port that is masked", poll(&ipi, 1, before + 5000 * ms), 0);
    check_true("returns at once", system_time() - before < 2000 * ms);
    check_true("and leaves the port pending", port_pending(ipi));
    __atomic_fetch_and(&shared_info->evtchn_pending[ipi / 64], ~(1ul << ipi % 64),
                       __ATOMIC_SEQ_CST);

    Word deadline = system_time() + 20 * ms;
    check_equal("poll of a quiet port, with a limit", poll(&ipi, 1, deadline), 0);
    check_true("returns after the limit", system_time() >= deadline);
    deadline = system_time() + 20 * ms;
    check_equal("poll of nothing, with a limit", poll(nullptr, 0, deadline), 0);
    check_true("returns after the limit", system_time() >= deadline);
    check_equal("poll with a limit in the past", poll(&ipi, 1, 1), 0);

    static std::uint32_t many[200];
    for (auto& port : many)
        port = ipi;
    check_equal("poll of more ports than allowed", poll(many, 129, 1), -CERO_EINVAL);
    const std::uint32_t bad_port = 0x7fffffff;
    check_equal("poll of a port that does not exist", poll(&bad_port, 1, 1), -CERO_EINVAL);
    check_equal("poll with a bad list",
                poll(reinterpret_cast<const std::uint32_t*>(unmapped_address), 1, 1), -CERO_EFAULT);

    for (const Word command :
         {Word{CERO_SCHEDOP_shutdown}, Word{CERO_SCHEDOP_poll}, Word{CERO_SCHEDOP_shutdown_code}})
        check_equal("bad argument", hypercall(CERO_HYPERCALL_sched_op, command, unmapped_address),
                    -CERO_EFAULT);
    check_equal("unknown command", sched_op(99), -CERO_ENOSYS);
    cero_sched_shutdown reason{CERO_SHUTDOWN_poweroff};
    check_equal("shutdown_code", sched_op(CERO_SCHEDOP_shutdown_code, &reason), 0);
}
