// SPDX-License-Identifier: BSD-2-Clause
// What:   four vCPUs that wake each other in SCHEDOP_poll, by events and by time-outs at once.
// Why:    a wake-up that is lost stops a guest's lock for good; the windows are a few instructions.
// How:    two tokens run around the vCPUs in opposite directions. Each vCPU polls for both; every
//         other poll has a time-out that may come together with an event, and each pass raises a
//         second event that wakes by another way.
// Expect: nobody sleeps for seconds while his token is there; both tokens come around all the time.
// Note:   Xen 4.17 loses some: it clears the bit of the poll after the vCPU is free to poll again.
// Run: --cpus 2 --hypervisor-options dom0_max_vcpus=4
#include "runtime.hpp"

using namespace guest;

namespace {

constexpr unsigned vcpus = 4;
constexpr Word ms = 1000000, long_wait = 3000 * ms, span = 8000 * ms;
constexpr Word passes_wanted = 1000; ///< in that span; a busy host does thousands

struct Ports {
    std::uint32_t forward, backward, noise;
};
Ports ports[vcpus];
volatile Word passes[vcpus], lost[vcpus], sent_at[4096];
Word end; ///< of the test; written before the others start
volatile unsigned finished;
alignas(16) unsigned char stacks[vcpus][16384];
cero_vcpu_guest_context context;

std::uint32_t bind_ipi(unsigned vcpu) {
    cero_evtchn_bind_ipi bind{vcpu, 0};
    check_equal("bind_ipi", event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind), 0);
    return bind.port;
}

void send(std::uint32_t port) {
    sent_at[port] = system_time();
    cero_evtchn_send request{port};
    event_channel_op(CERO_EVTCHNOP_send, &request);
}

/// Takes the event of a port, if it is there. `slept`: a whole long wait went by before.
bool take(unsigned me, std::uint32_t port, bool slept) {
    const Word bit = 1ul << port % 64;
    if ((__atomic_fetch_and(&shared_info->evtchn_pending[port / 64], ~bit, __ATOMIC_SEQ_CST) &
         bit) == 0)
        return false;
    if (slept && system_time() - sent_at[port] > long_wait / 2)
        lost[me] = lost[me] + 1;
    return true;
}

void work(unsigned me) {
    cero_vcpu_info& info = shared_info->vcpu_info[me];
    Word seed = me * 77 + 5;
    while (system_time() < end) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        std::uint32_t both[] = {ports[me].forward, ports[me].backward};
        const bool is_long = (seed & 1) != 0;
        const Word begin = system_time();
        cero_sched_poll request{address(both), 2, 0,
                                begin + (is_long ? long_wait : 20000 + seed % 400000)};
        sched_op(CERO_SCHEDOP_poll, &request);
        const bool slept = is_long && system_time() - begin >= long_wait;
        info.evtchn_upcall_pending = 0;
        info.evtchn_pending_sel = 0;
        take(me, ports[me].noise, false);
        if (take(me, ports[me].forward, slept)) {
            passes[me] = passes[me] + 1;
            send(ports[(me + 1) % vcpus].forward);
            send(ports[(me + 2) % vcpus].noise);
        }
        if (take(me, ports[me].backward, slept)) {
            passes[me] = passes[me] + 1;
            send(ports[(me + vcpus - 1) % vcpus].noise);
            send(ports[(me + vcpus - 1) % vcpus].backward);
        }
    }
    __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

[[noreturn]] void secondary(Word me) {
    work(static_cast<unsigned>(me));
    vcpu_op(CERO_VCPUOP_down, me);
    for (;;)
        sched_op(CERO_SCHEDOP_block);
}

void bring_up(unsigned vcpu) {
    context = {};
    context.flags = CERO_VGCF_in_kernel;
    context.user_regs.rip = reinterpret_cast<Word>(secondary);
    context.user_regs.rsp = address(stacks[vcpu] + sizeof stacks[vcpu]) - 8;
    context.user_regs.rdi = vcpu;
    context.user_regs.rflags = 0x202;
    context.user_regs.cs = CERO_FLAT_RING3_CS64;
    context.user_regs.ss = CERO_FLAT_RING3_SS;
    context.kernel_ss = CERO_FLAT_RING3_SS;
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = mfn_of(reinterpret_cast<const void*>(start_info->pt_base)) << 12;
    shared_info->vcpu_info[vcpu].evtchn_upcall_mask = 1;
    context.flags = 0;
    check_equal("initialise in user mode without user tables",
                vcpu_op(CERO_VCPUOP_initialise, vcpu, &context), -CERO_EINVAL);
    context.flags = CERO_VGCF_in_kernel;
    for (const Word entries : {Word{CERO_FIRST_RESERVED_GDT_ENTRY} + 1, ~0ul, ~0ul - 510}) {
        context.gdt_ents = entries;
        check_equal("initialise: GDT too long", vcpu_op(CERO_VCPUOP_initialise, vcpu, &context),
                    -CERO_EINVAL);
    }
    context.gdt_ents = 0;
    check_equal("initialise", vcpu_op(CERO_VCPUOP_initialise, vcpu, &context), 0);
    check_equal("initialise again", vcpu_op(CERO_VCPUOP_initialise, vcpu, &context), -CERO_EEXIST);
    check_equal("is_up before up", vcpu_op(CERO_VCPUOP_is_up, vcpu), 0);
    check_equal("up", vcpu_op(CERO_VCPUOP_up, vcpu), 0);
}

} // namespace

void guest::test_main() {
    if (vcpu_op(CERO_VCPUOP_is_up, vcpus - 1) < 0)
        return report(Verdict::skip, "there are not four vCPUs");
    disable_events();
    for (unsigned n = 0; n < vcpus; ++n) {
        ports[n] = {bind_ipi(n), bind_ipi(n), bind_ipi(n)};
        unmask_port(ports[n].noise);
    }
    end = system_time() + span;
    for (unsigned n = 1; n < vcpus; ++n)
        bring_up(n);
    send(ports[0].forward);
    send(ports[2].backward);
    work(0);
    check_true("all vCPUs come to their end",
               wait_for([] { return finished == vcpus; }, 4 * long_wait));
    Word all = 0;
    for (unsigned n = 0; n < vcpus; ++n) {
        check_equal("wake-ups that were lost", static_cast<long>(lost[n]), 0);
        all += passes[n];
    }
    print("%lu passes", all);
    check_true("the tokens went around", all >= passes_wanted);
}
