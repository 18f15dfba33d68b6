// SPDX-License-Identifier: BSD-2-Clause
// What:   vcpu_op: what one vCPU can ask about itself: up, runstate, vcpu_info, time area; bad
// input. Why:    Linux counts its CPUs with it, and panics when vcpu_info cannot be moved. How:
// each operation on vCPU 0, and on vCPUs that do not exist. Expect: as documented in
// docs/abi/vcpu.md. Last in the test: vcpu_info moves.
#include "runtime.hpp"

using namespace guest;

namespace {

alignas(64) cero_vcpu_runstate_info area;
alignas(64) cero_vcpu_time_info time_area;
Page info_page;

void runstate() {
    cero_vcpu_runstate_info info{};
    check_equal("get_runstate_info", vcpu_op(CERO_VCPUOP_get_runstate_info, 0, &info), 0);
    check_equal("it is running", info.state, CERO_RUNSTATE_running);
    check_true("it has run", info.time[CERO_RUNSTATE_running] > 0);
    cero_vcpu_register_runstate_memory_area where{address(&area)};
    area.state = 99;
    check_equal("register_runstate_memory_area",
                vcpu_op(CERO_VCPUOP_register_runstate_memory_area, 0, &where), 0);
    check_equal("the area is filled in", area.state, CERO_RUNSTATE_running);
    const Word before = area.time[CERO_RUNSTATE_blocked];
    cero_evtchn_bind_virq bind{CERO_VIRQ_TIMER, 0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_virq, &bind);
    unmask_port(bind.port);
    set_timer_op(system_time() + 20000000);
    sched_op(CERO_SCHEDOP_block);
    disable_events();
    check_true("blocked time is counted", area.time[CERO_RUNSTATE_blocked] >= before + 10000000);
    where.addr = unmapped_address;
    check_true("area that is not mapped",
               vcpu_op(CERO_VCPUOP_register_runstate_memory_area, 0, &where) <= 0);
    sched_op(CERO_SCHEDOP_yield);
    where.addr = address(&area);
    vcpu_op(CERO_VCPUOP_register_runstate_memory_area, 0, &where);
}

void secondary_time() {
    cero_vcpu_register_time_memory_area where{address(&time_area)};
    check_equal("register_vcpu_time_memory_area",
                vcpu_op(CERO_VCPUOP_register_vcpu_time_memory_area, 0, &where), 0);
    check_true("the area is filled in",
               time_area.tsc_to_system_mul == vcpu_info().time.tsc_to_system_mul);
    check_equal("its version is even", time_area.version & 1, 0);
}

void vcpu_information() {
    cero_vcpu_register_vcpu_info where{mfn_of(&info_page), 4096 - 32, 0};
    check_equal("vcpu_info that crosses a page", vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where),
                -CERO_ENXIO);
    where = {mfn_of(&info_page), 4, 0};
    check_equal("vcpu_info that is not aligned", vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where),
                -CERO_ENXIO);
    where = {0xfffffffff, 0, 0};
    check_true("vcpu_info in a frame that does not exist",
               vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where) < 0);
    where = {(*entry_of(address(&info_page), 2) & pte_frame_mask) >> 12, 0, 0};
    check_true("vcpu_info in a page table", vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where) < 0);

    cero_evtchn_bind_ipi bind{0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind);
    disable_events();
    auto& moved = *reinterpret_cast<cero_vcpu_info*>(address(&info_page) + 128);
    where = {mfn_of(&info_page), 128, 0};
    check_equal("register_vcpu_info", vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where), 0);
    check_equal("everything is pending, to lose nothing", moved.evtchn_upcall_pending, 1);
    check_equal("every selector bit too", static_cast<long>(moved.evtchn_pending_sel), -1);
    check_equal("the mask came along", moved.evtchn_upcall_mask, 1);
    check_true("time is there", moved.time.tsc_to_system_mul != 0 && (moved.time.version & 1) == 0);
    check_equal("register_vcpu_info twice", vcpu_op(CERO_VCPUOP_register_vcpu_info, 0, &where) < 0,
                1);

    // Events act on the new place now; the old one is dead.
    moved.evtchn_upcall_pending = 0;
    moved.evtchn_pending_sel = 0;
    vcpu_info().evtchn_upcall_pending = 0;
    vcpu_info().evtchn_pending_sel = 0;
    unmask_port(bind.port);
    cero_evtchn_send send{bind.port};
    event_channel_op(CERO_EVTCHNOP_send, &send);
    check_equal("an event is pending in the new place", moved.evtchn_upcall_pending, 1);
    check_equal("and not in the old one", vcpu_info().evtchn_upcall_pending, 0);
    check_true("a page that holds it cannot become a page table",
               mmuext_one(CERO_MMUEXT_PIN_L1_TABLE, mfn_of(&info_page)) < 0);
}

} // namespace

void guest::test_main() {
    check_equal("is_up of vCPU 0", vcpu_op(CERO_VCPUOP_is_up, 0), 1);
    for (const Word vcpu : {Word{77}, Word{0x7fffffff}, ~Word{0}})
        check_equal("is_up of a vCPU that does not exist", vcpu_op(CERO_VCPUOP_is_up, vcpu),
                    -CERO_ENOENT);
    check_equal("up of vCPU 0, which is up", vcpu_op(CERO_VCPUOP_up, 0), 0);
    check_equal("unknown command", vcpu_op(99, 0), -CERO_ENOSYS);
    for (const Word command :
         {Word{CERO_VCPUOP_get_runstate_info}, Word{CERO_VCPUOP_register_runstate_memory_area},
          Word{CERO_VCPUOP_register_vcpu_info}, Word{CERO_VCPUOP_set_periodic_timer}})
        check_equal("bad argument", hypercall(CERO_HYPERCALL_vcpu_op, command, 0, unmapped_address),
                    -CERO_EFAULT);
    runstate();
    secondary_time();
    vcpu_information();
}
