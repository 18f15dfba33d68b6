// SPDX-License-Identifier: BSD-2-Clause
// What:   the cost of each operation of the ABI, in ticks of the TSC.
// Why:    with QEMU's icount a tick is an instruction; tests/bench/run.py makes docs/performance.md
// of it. How:    batches of each operation; the smallest of 51 batches counts; printing comes after
// the last one. Expect: lines `bench NAME TICKS`, then SUCCESS.
#include "runtime.hpp"

using namespace guest;

extern "C" {
void bench_fault_stub();
void bench_fault_native_stub();
void bench_trap_stub();
void bench_ud_stub();
void bench_syscall_callback();
void bench_user_calls(Word count);
void bench_user_faults(Word count);
void bench_kernel_fault();
void bench_iret();
void rt_syscall_callback();
void rt_secondary_start();
extern const Word rt_trap_stubs[32];
}

namespace {

constexpr unsigned batches = 51;

struct Result {
    const char* name;
    Word ticks;
};
Result results[64];
unsigned result_count;
Word loop_cost;

void note(const char* name, Word ticks) {
    results[result_count++] = {name, ticks};
}

/// The smallest of the batches of `rounds` rounds, per round.
template <typename Body>
Word measure(unsigned rounds, Body&& body) {
    Word best = ~Word{0};
    for (unsigned batch = 0; batch < batches; ++batch) {
        const Word start = read_tsc();
        for (unsigned i = 0; i < rounds; ++i) {
            body(i);
            asm volatile("" ::: "memory");
        }
        const Word ticks = read_tsc() - start;
        best = ticks < best ? ticks : best;
    }
    return best / rounds;
}
template <typename Body>
void bench(const char* name, unsigned rounds, Body&& body) {
    const Word ticks = measure(rounds, body);
    note(name, ticks > loop_cost ? ticks - loop_cost : 0);
}

Page target, other, base_l4, leaf, full_leaf, top, grant_window, grant_table_window, source, sink;
Page many_targets[32];

Word pte(const Page& page, Word flags) {
    return mfn_of(&page) * page_size | flags;
}

void simple_calls() {
    loop_cost = measure(200, [](unsigned) {});
    bench("hypercall_empty", 200,
          [](unsigned) { hypercall(CERO_HYPERCALL_xen_version, CERO_XENVER_version); });
    bench("hypercall_unknown", 200, [](unsigned) { hypercall(63); });
    static cero_multicall_entry calls[16];
    for (auto& call : calls)
        call = {CERO_HYPERCALL_xen_version, 0, {CERO_XENVER_version, 0, 0, 0, 0, 0}};
    bench("multicall_16", 50, [](unsigned) { multicall(calls, 16); });
    bench("yield", 50, [](unsigned) { sched_op(CERO_SCHEDOP_yield); });
    const Word far = system_time() + 1000000000000;
    bench("set_timer", 50, [=](unsigned i) { set_timer_op(far + i); });
    set_timer_op(0);
    bench("stack_switch", 100,
          [](unsigned) { stack_switch(CERO_FLAT_RING3_SS, address(&target)); });
}

void events() {
    cero_evtchn_bind_ipi bind{0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind);
    static cero_evtchn_send send;
    send.port = bind.port;
    unmask_port(bind.port);
    disable_events();
    const unsigned word = bind.port / 64;
    bench("event_pending", 100, [=](unsigned) {
        event_channel_op(CERO_EVTCHNOP_send, &send);
        shared_info->evtchn_pending[word] = 0;
        vcpu_info().evtchn_pending_sel = 0;
        vcpu_info().evtchn_upcall_pending = 0;
    });
    enable_events();
    bench("event_delivered", 100, [](unsigned) { event_channel_op(CERO_EVTCHNOP_send, &send); });
    disable_events();
}

void single_entries() {
    static cero_mmu_update one;
    one.ptr = entry_maddr(address(&target));
    const Word a = pte(target, pte_rw), b = pte(other, pte_rw), a_ro = pte(target, pte_ro);
    bench("mmu_update_frame", 50, [=](unsigned i) {
        one.val = (i & 1) != 0 ? a : b;
        mmu_update(&one, 1);
    });
    bench("mmu_update_ro_rw", 50, [=](unsigned i) {
        one.val = (i & 1) != 0 ? a : a_ro;
        mmu_update(&one, 1);
    });
    static cero_mmu_update many[32];
    static Word own[32];
    for (unsigned i = 0; i < 32; ++i) {
        many[i].ptr = entry_maddr(address(&many_targets[i]));
        own[i] = pte(many_targets[i], pte_rw);
    }
    bench("mmu_update_32", 20, [=](unsigned i) {
        for (unsigned k = 0; k < 32; ++k)
            many[k].val = (i & 1) != 0 ? own[k] : b;
        mmu_update(many, 32);
    });
    const Word va = address(&target);
    bench("va_mapping", 50,
          [=](unsigned i) { update_va_mapping(va, (i & 1) != 0 ? a : b, CERO_UVMF_NONE); });
    bench("va_mapping_one", 50,
          [=](unsigned i) { update_va_mapping(va, (i & 1) != 0 ? a : b, CERO_UVMF_INVLPG); });
    bench("va_mapping_all", 50,
          [=](unsigned i) { update_va_mapping(va, (i & 1) != 0 ? a : b, CERO_UVMF_TLB_FLUSH); });
    vm_assist(CERO_VMASST_CMD_enable, CERO_VMASST_TYPE_writable_pagetables);
    auto* entry = const_cast<volatile Word*>(entry_of(va));
    bench("emulated_mov", 50, [=](unsigned i) {
        const Word value = (i & 1) != 0 ? a : b;
        asm volatile("mov %1, %0" : "=m"(*entry) : "r"(value));
    });
    bench("emulated_xchg", 50, [=](unsigned i) {
        Word value = (i & 1) != 0 ? a : b;
        asm volatile("xchg %1, %0" : "+m"(*entry), "+r"(value));
    });
    update_va_mapping(va, a, CERO_UVMF_TLB_FLUSH);
}

void tables() {
    bench("flush_one", 50,
          [](unsigned) { mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(&target)); });
    bench("flush_all", 50, [](unsigned) { mmuext_one(CERO_MMUEXT_TLB_FLUSH_LOCAL); });
    const Word own = mfn_of(entry_of(0, 4));
    for (unsigned slot = 0; slot < 512; ++slot)
        base_l4.words[slot] = slot >= 256 && slot < 272 ? 0 : entry_of(0, 4)[slot];
    make_readonly(&base_l4);
    mmuext_one(CERO_MMUEXT_PIN_L4_TABLE, mfn_of(&base_l4));
    bench("baseptr_same", 50, [=](unsigned) { mmuext_one(CERO_MMUEXT_NEW_BASEPTR, own); });
    const Word second = mfn_of(&base_l4);
    bench("baseptr_other", 50,
          [=](unsigned i) { mmuext_one(CERO_MMUEXT_NEW_BASEPTR, (i & 1) != 0 ? own : second); });
    mmuext_one(CERO_MMUEXT_NEW_BASEPTR, own);
    for (Word& word : full_leaf.words)
        word = pte(other, pte_ro);
    for (const Page* page : {&top, &leaf, &full_leaf})
        make_readonly(page);
    const auto pin_and_unpin = [](std::uint32_t level, const Page& page) {
        mmuext_one(level, mfn_of(&page));
        mmuext_one(CERO_MMUEXT_UNPIN_TABLE, mfn_of(&page));
    };
    bench("pin_unpin_top", 10, [=](unsigned) { pin_and_unpin(CERO_MMUEXT_PIN_L4_TABLE, top); });
    bench("pin_unpin_leaf", 10, [=](unsigned) { pin_and_unpin(CERO_MMUEXT_PIN_L1_TABLE, leaf); });
    bench("pin_unpin_full_leaf", 10,
          [=](unsigned) { pin_and_unpin(CERO_MMUEXT_PIN_L1_TABLE, full_leaf); });
}

void set_handler(unsigned vector, void (*handler)(), std::uint8_t level = 0) {
    const cero_trap_info table[] = {
        {static_cast<std::uint8_t>(vector), level, CERO_FLAT_RING3_CS64, 0,
         reinterpret_cast<Word>(handler)},
        {0, 0, 0, 0, 0},
    };
    set_trap_table(table);
}
void restore_handler(unsigned vector, std::uint8_t level = 0) {
    const cero_trap_info table[] = {
        {static_cast<std::uint8_t>(vector), level, CERO_FLAT_RING3_CS64, 0, rt_trap_stubs[vector]},
        {0, 0, 0, 0, 0},
    };
    set_trap_table(table);
}

/// Ticks per round of something in user mode: the difference of many rounds and of none.
void bench_user(const char* name, void (*entry)(Word)) {
    constexpr unsigned rounds = 100;
    const Word with = measure(1, [=](unsigned) { run_user(entry, rounds); });
    const Word without = measure(1, [=](unsigned) { run_user(entry, 0); });
    note(name, (with - without) / rounds);
}

void exceptions() {
    set_handler(page_fault, bench_fault_stub);
    bench("fault_iret_hypercall", 50, [](unsigned) {
        asm volatile("call bench_kernel_fault" : : : "rax", "rcx", "rdx", "r11", "memory");
    });
    set_handler(page_fault, bench_fault_native_stub);
    bench("fault_iretq", 50, [](unsigned) {
        asm volatile("call bench_kernel_fault" : : : "rax", "rcx", "rdx", "r11", "memory");
    });
    set_handler(page_fault, bench_fault_stub);
    run_user(bench_user_calls, 0);
    set_handler(breakpoint, bench_trap_stub, 3);
    bench("int3", 50, [](unsigned) { asm volatile("int3" : : : "memory"); });
    restore_handler(breakpoint, 3);
    set_handler(invalid_opcode, bench_ud_stub);
    bench("ud2", 50, [](unsigned) { asm volatile("ud2" : : : "memory"); });
    restore_handler(invalid_opcode);
    bench("iret_hypercall", 50, [](unsigned) {
        asm volatile("call bench_iret" : : : "rax", "rcx", "rdx", "r11", "memory");
    });

    cero_callback_register callback{CERO_CALLBACKTYPE_syscall, 0, 0,
                                    reinterpret_cast<Word>(bench_syscall_callback)};
    callback_op(CERO_CALLBACKOP_register, &callback);
    bench_user("user_syscall", bench_user_calls);
    bench_user("user_fault", bench_user_faults);
    callback.address = reinterpret_cast<Word>(rt_syscall_callback);
    callback_op(CERO_CALLBACKOP_register, &callback);
    restore_handler(page_fault);
}

void emulated_instructions() {
    bench("rdmsr", 50, [](unsigned) {
        std::uint32_t low, high;
        asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000100));
    });
    bench("mov_from_cr0", 50, [](unsigned) {
        Word value;
        asm volatile("mov %%cr0, %0" : "=r"(value));
    });
    bench("forced_cpuid", 50, [](unsigned) {
        std::uint32_t a = 1, b, c = 0, d;
        asm volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid"
                     : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    });
}

void grants() {
    Word frame = 0;
    cero_gnttab_setup_table setup{};
    setup.dom = CERO_DOMID_SELF;
    setup.nr_frames = 1;
    setup.frame_list = address(&frame);
    grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1);
    if (setup.status != 0 || update_va_mapping(address(&grant_table_window),
                                               frame * page_size | pte_rw, CERO_UVMF_INVLPG) != 0) {
        print("no grant table");
        return;
    }
    auto* table = reinterpret_cast<cero_grant_entry_v1*>(&grant_table_window);
    table[10].frame = static_cast<std::uint32_t>(mfn_of(&source));
    table[10].domid = 0;
    table[10].flags = CERO_GTF_permit_access;
    bench("grant_map_unmap", 50, [](unsigned) {
        cero_gnttab_map_grant_ref map{address(&grant_window), CERO_GNTMAP_host_map, 10, 0, 0, 0, 0};
        grant_table_op(CERO_GNTTABOP_map_grant_ref, &map, 1);
        cero_gnttab_unmap_grant_ref unmap{address(&grant_window), 0, map.handle, 0, 0};
        grant_table_op(CERO_GNTTABOP_unmap_grant_ref, &unmap, 1);
    });
    static cero_gnttab_copy copy;
    copy.source.u.ref = 10;
    copy.source.domid = 0;
    copy.dest.u.gmfn = mfn_of(&sink);
    copy.dest.domid = CERO_DOMID_SELF;
    copy.flags = CERO_GNTCOPY_source_gref;
    copy.len = 4096;
    bench("grant_copy_4096", 20, [](unsigned) { grant_table_op(CERO_GNTTABOP_copy, &copy, 1); });
    copy.len = 64;
    bench("grant_copy_64", 20, [](unsigned) { grant_table_op(CERO_GNTTABOP_copy, &copy, 1); });
    check_equal("copies worked", copy.status, 0);
}

// A second vCPU on the same CPU: each sends the other an event and polls for its own.
Page second_stack;
std::uint32_t pong_ports[2]; ///< by the vCPU that waits for it

void wait_and_clear(std::uint32_t port) {
    while (!port_pending(port)) {
        cero_sched_poll argument{address(&port), 1, 0, 0};
        sched_op(CERO_SCHEDOP_poll, &argument);
    }
    __atomic_and_fetch(&shared_info->evtchn_pending[port / 64], ~(1ul << port % 64),
                       __ATOMIC_SEQ_CST);
}

void send_to(unsigned vcpu) {
    cero_evtchn_send send{pong_ports[vcpu]};
    event_channel_op(CERO_EVTCHNOP_send, &send);
}

/// One round trip is two switches, two events, two polls.
void vcpu_switches() {
    for (std::uint32_t vcpu = 0; vcpu < 2; ++vcpu) {
        cero_evtchn_bind_ipi bind{vcpu, 0};
        if (event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind) != 0) {
            print("no second vCPU");
            return;
        }
        pong_ports[vcpu] = bind.port;
    }
    static cero_vcpu_guest_context context;
    context.flags = CERO_VGCF_in_kernel;
    context.user_regs.rip = reinterpret_cast<Word>(rt_secondary_start);
    context.user_regs.cs = CERO_FLAT_RING3_CS64;
    context.user_regs.ss = CERO_FLAT_RING3_SS;
    context.user_regs.rflags = 0x200;
    context.user_regs.rsp = address(&second_stack + 1);
    context.kernel_ss = CERO_FLAT_RING3_SS;
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = mfn_of(entry_of(0, 4)) << 12;
    check_equal("second vCPU", vcpu_op(CERO_VCPUOP_initialise, 1, &context), 0);
    check_equal("second vCPU up", vcpu_op(CERO_VCPUOP_up, 1), 0);
    bench("vcpu_round_trip", 50, [](unsigned) {
        send_to(1);
        wait_and_clear(pong_ports[0]);
    });
}

} // namespace

void guest::secondary_main() {
    for (;;) {
        wait_and_clear(pong_ports[1]);
        send_to(0);
    }
}

/// As Linux does, where CPUID shows it: the hypervisor then exchanges the GS bases without a
/// model-specific register.
static void use_fsgsbase() {
    std::uint32_t a = 7, b, c = 0, d;
    asm volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if ((b & 1) == 0)
        return;
    Word cr4;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    asm volatile("mov %0, %%cr4" : : "r"(cr4 | 1u << 16));
}

void guest::test_main() {
    disable_events();
    use_fsgsbase();
    simple_calls();
    events();
    single_entries();
    tables();
    exceptions();
    emulated_instructions();
    grants();
    vcpu_switches();
    for (unsigned i = 0; i < result_count; ++i)
        print("bench %s %lu", results[i].name, results[i].ticks);
}
