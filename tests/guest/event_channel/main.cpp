// SPDX-License-Identifier: BSD-2-Clause
// What:   event_channel_op: every operation of the 2-level ABI, with ports to oneself.
// Why:    every interrupt, IPI and split driver of a guest depends on exact pending, mask and
// selector rules. How:    binds, sends, masks, closes; reads the bits; passes ports and domains
// that do not exist. Expect: as documented in docs/abi/events.md.
#include "runtime.hpp"

using namespace guest;

namespace {

long send(std::uint32_t port) {
    cero_evtchn_send argument{port};
    return event_channel_op(CERO_EVTCHNOP_send, &argument);
}
long close(std::uint32_t port) {
    cero_evtchn_close argument{port};
    return event_channel_op(CERO_EVTCHNOP_close, &argument);
}
long unmask(std::uint32_t port) {
    cero_evtchn_unmask argument{port};
    return event_channel_op(CERO_EVTCHNOP_unmask, &argument);
}
cero_evtchn_status status(std::uint32_t port) {
    cero_evtchn_status argument{};
    argument.dom = CERO_DOMID_SELF;
    argument.port = port;
    check_equal("status", event_channel_op(CERO_EVTCHNOP_status, &argument), 0);
    return argument;
}

void ipi() {
    cero_evtchn_bind_ipi bind{0, 0};
    check_equal("bind_ipi", event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind), 0);
    const std::uint32_t port = bind.port;
    check_true("port 0 is never given", port != 0);
    check_equal("status of an IPI port", status(port).status, CERO_EVTCHNSTAT_ipi);
    bind.vcpu = 77;
    check_equal("bind_ipi of a vCPU that does not exist",
                event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind), -CERO_ENOENT);

    // Masked: the bit is set, nothing else.
    mask_port(port);
    enable_events();
    check_equal("send to a masked port", send(port), 0);
    check_true("it is pending", port_pending(port));
    check_equal("it is not delivered", static_cast<long>(event_count[port]), 0);
    check_equal("no upcall is pending", vcpu_info().evtchn_upcall_pending, 0);
    check_equal("unmask", unmask(port), 0);
    check_equal("it is delivered now", static_cast<long>(event_count[port]), 1);

    // The upcall mask holds delivery back, and many sends are one event.
    disable_events();
    check_equal("send", send(port), 0);
    check_equal("send again", send(port), 0);
    check_equal("the upcall is pending", vcpu_info().evtchn_upcall_pending, 1);
    check_equal("the selector has the port's word",
                static_cast<long>(vcpu_info().evtchn_pending_sel),
                static_cast<long>(1ul << port / 64));
    check_equal("it is not delivered", static_cast<long>(event_count[port]), 1);
    enable_events();
    check_equal("one delivery for two sends", static_cast<long>(event_count[port]), 2);
    check_equal("nothing is pending", vcpu_info().evtchn_upcall_pending, 0);
    check_equal("the callback's mask was lifted on return", vcpu_info().evtchn_upcall_mask, 0);
    disable_events();

    check_equal(
        "bind_vcpu of an IPI port",
        [&] {
            cero_evtchn_bind_vcpu argument{port, 0};
            return event_channel_op(CERO_EVTCHNOP_bind_vcpu, &argument);
        }(),
        -CERO_EINVAL);
    send(port);
    check_equal("close", close(port), 0);
    check_equal("status after it", status(port).status, CERO_EVTCHNSTAT_closed);
    check_true("its pending bit is gone", !port_pending(port));
    check_equal("close again", close(port), -CERO_EINVAL);
    check_equal("send to a closed port", send(port), -CERO_EINVAL);
    enable_events();
    disable_events();
}

void virqs() {
    cero_evtchn_bind_virq bind{CERO_VIRQ_TIMER, 0, 0};
    check_equal("bind_virq of the timer", event_channel_op(CERO_EVTCHNOP_bind_virq, &bind), 0);
    const cero_evtchn_status now = status(bind.port);
    check_equal("status", now.status, CERO_EVTCHNSTAT_virq);
    check_equal("which", now.u.virq, CERO_VIRQ_TIMER);
    check_equal("send to it", send(bind.port), -CERO_EINVAL);
    cero_evtchn_bind_virq again{CERO_VIRQ_TIMER, 0, 0};
    check_equal("bind_virq twice", event_channel_op(CERO_EVTCHNOP_bind_virq, &again), -CERO_EEXIST);
    check_equal("close", close(bind.port), 0);
    check_equal("bind_virq again", event_channel_op(CERO_EVTCHNOP_bind_virq, &again), 0);
    check_equal("close", close(again.port), 0);
    bind = {CERO_NR_VIRQS, 0, 0};
    check_equal("bind_virq that does not exist", event_channel_op(CERO_EVTCHNOP_bind_virq, &bind),
                -CERO_EINVAL);
    bind = {CERO_VIRQ_TIMER, 77, 0};
    check_equal("bind_virq of a vCPU that does not exist",
                event_channel_op(CERO_EVTCHNOP_bind_virq, &bind), -CERO_ENOENT);
}

void interdomain() {
    cero_evtchn_alloc_unbound unbound{CERO_DOMID_SELF, CERO_DOMID_SELF, 0};
    check_equal("alloc_unbound", event_channel_op(CERO_EVTCHNOP_alloc_unbound, &unbound), 0);
    check_equal("status", status(unbound.port).status, CERO_EVTCHNSTAT_unbound);
    check_equal("send to an unbound port", send(unbound.port), 0);
    check_true("which does nothing", !port_pending(unbound.port));
    cero_evtchn_bind_interdomain bind{CERO_DOMID_SELF, 0, unbound.port, 0};
    check_equal("bind_interdomain", event_channel_op(CERO_EVTCHNOP_bind_interdomain, &bind), 0);
    check_true("the new port is pending once", port_pending(bind.local_port));
    cero_evtchn_status now = status(bind.local_port);
    check_equal("status", now.status, CERO_EVTCHNSTAT_interdomain);
    check_equal("the other port", now.u.interdomain.port, unbound.port);
    check_equal("the first one's status", status(unbound.port).status, CERO_EVTCHNSTAT_interdomain);
    cero_evtchn_bind_interdomain taken{CERO_DOMID_SELF, 0, unbound.port, 0};
    check_equal("bind to a bound port", event_channel_op(CERO_EVTCHNOP_bind_interdomain, &taken),
                -CERO_EINVAL);

    unmask_port(unbound.port);
    mask_port(bind.local_port);
    enable_events();
    const Word before = event_count[unbound.port];
    check_equal("send", send(bind.local_port), 0);
    check_equal("the other port gets it", static_cast<long>(event_count[unbound.port]),
                static_cast<long>(before) + 1);
    disable_events();
    cero_evtchn_bind_vcpu move{unbound.port, 0};
    check_equal("bind_vcpu", event_channel_op(CERO_EVTCHNOP_bind_vcpu, &move), 0);
    move.vcpu = 77;
    check_equal("bind_vcpu of a vCPU that does not exist",
                event_channel_op(CERO_EVTCHNOP_bind_vcpu, &move), -CERO_ENOENT);

    check_equal("close one end", close(bind.local_port), 0);
    check_equal("the other is unbound", status(unbound.port).status, CERO_EVTCHNSTAT_unbound);
    check_equal("close it", close(unbound.port), 0);

    cero_evtchn_alloc_unbound stranger{0x7777, CERO_DOMID_SELF, 0};
    check_equal("alloc_unbound for a domain that does not exist",
                event_channel_op(CERO_EVTCHNOP_alloc_unbound, &stranger), -CERO_ESRCH);
    cero_evtchn_bind_interdomain nobody{0x7777, 0, 1, 0};
    check_equal("bind_interdomain to a domain that does not exist",
                event_channel_op(CERO_EVTCHNOP_bind_interdomain, &nobody), -CERO_ESRCH);
    cero_evtchn_bind_interdomain far{CERO_DOMID_SELF, 0, 0x7fffffff, 0};
    check_equal("bind_interdomain to a port that does not exist",
                event_channel_op(CERO_EVTCHNOP_bind_interdomain, &far), -CERO_EINVAL);
}

void bad_input() {
    for (const std::uint32_t port : {0u, 4095u, 4096u, 0x7fffffffu, 0xffffffffu}) {
        check_equal("send to a port that does not exist", send(port), -CERO_EINVAL);
        check_equal("close of a port that does not exist", close(port), -CERO_EINVAL);
        check_true("unmask of a port that does not exist",
                   port == 0 || port == 4095 || unmask(port) == -CERO_EINVAL);
    }
    cero_evtchn_status far{};
    far.dom = CERO_DOMID_SELF;
    far.port = 0x7fffffff;
    check_equal("status beyond the limit", event_channel_op(CERO_EVTCHNOP_status, &far),
                -CERO_EINVAL);
    far.dom = 0x7777;
    check_equal("status in a domain that does not exist",
                event_channel_op(CERO_EVTCHNOP_status, &far), -CERO_ESRCH);
    check_equal("unknown command", event_channel_op(99, &far), -CERO_ENOSYS);
    for (Word command = 0; command <= CERO_EVTCHNOP_unmask; ++command)
        check_equal("bad argument",
                    hypercall(CERO_HYPERCALL_event_channel_op, command, unmapped_address),
                    -CERO_EFAULT);
}

void many() {
    unsigned count = 0;
    static std::uint32_t ports[4096];
    for (;; ++count) {
        cero_evtchn_bind_ipi bind{0, 0};
        const long result = event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind);
        if (result != 0) {
            check_equal("when all ports are in use", result, -CERO_ENOSPC);
            break;
        }
        ports[count] = bind.port;
    }
    print("%u ports", count);
    check_true("a domain has at least 1000 ports", count >= 1000);
    unsigned failed = 0;
    for (unsigned i = 0; i < count; ++i)
        failed += close(ports[i]) != 0;
    check_equal("ports that could not be closed", failed, 0);
}

} // namespace

void guest::test_main() {
    ipi();
    virqs();
    interdomain();
    bad_input();
    many();
}
