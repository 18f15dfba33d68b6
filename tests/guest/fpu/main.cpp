// SPDX-License-Identifier: BSD-2-Clause
// What:   FPU, SSE and AVX state over hypercalls, events, blocking and the way to user mode and
// back. Why:    a hypervisor that touches or loses it corrupts programs silently; one that shows it
// leaks secrets. How:    fills the registers, does everything that enters the hypervisor, compares.
// Expect: every register as it was.
#include "runtime.hpp"

using namespace guest;

namespace {

alignas(64) unsigned char pattern[256], result[256];

void load() {
    asm volatile(
        "movups (%0), %%xmm0; movups 16(%0), %%xmm1; movups 32(%0), %%xmm2; movups 48(%0), %%xmm3;"
        "movups 64(%0), %%xmm4; movups 80(%0), %%xmm5; movups 96(%0), %%xmm6; movups 112(%0), "
        "%%xmm7;"
        "movups 128(%0), %%xmm8; movups 144(%0), %%xmm9; movups 160(%0), %%xmm10; movups 176(%0), "
        "%%xmm11;"
        "movups 192(%0), %%xmm12; movups 208(%0), %%xmm13; movups 224(%0), %%xmm14; movups "
        "240(%0), %%xmm15"
        :
        : "r"(pattern)
        : "memory");
}
void store() {
    asm volatile(
        "movups %%xmm0, (%0); movups %%xmm1, 16(%0); movups %%xmm2, 32(%0); movups %%xmm3, 48(%0);"
        "movups %%xmm4, 64(%0); movups %%xmm5, 80(%0); movups %%xmm6, 96(%0); movups %%xmm7, "
        "112(%0);"
        "movups %%xmm8, 128(%0); movups %%xmm9, 144(%0); movups %%xmm10, 160(%0); movups %%xmm11, "
        "176(%0);"
        "movups %%xmm12, 192(%0); movups %%xmm13, 208(%0); movups %%xmm14, 224(%0); movups "
        "%%xmm15, 240(%0)"
        :
        : "r"(result)
        : "memory");
}

template <typename Body>
void keeps(const char* what, Body&& body) {
    load();
    body();
    store();
    check_equal(what, __builtin_memcmp(pattern, result, sizeof pattern), 0);
}

constexpr Word ms = 1000000;

} // namespace

void guest::test_main() {
    for (unsigned i = 0; i < sizeof pattern; ++i)
        pattern[i] = static_cast<unsigned char>(i * 7 + 1);
    asm volatile("fninit");
    std::uint16_t control = 0;
    asm volatile("fnstcw %0" : "=m"(control));
    check_equal("x87 control word after fninit", control, 0x37f);
    std::uint32_t mxcsr = 0;
    asm volatile("stmxcsr %0" : "=m"(mxcsr));
    check_equal("MXCSR at start", mxcsr, 0x1f80);

    keeps("hypercall", [] { xen_version(CERO_XENVER_version); });
    keeps("exception", [] { guarded([] { asm volatile("ud2"); }); });
    keeps("page-table update", [] {
        static Page page;
        make_readonly(&page);
        make_writable(&page);
    });
    keeps("yield", [] { sched_op(CERO_SCHEDOP_yield); });
    keeps("user mode and back", [] { run_user([](Word) { user_syscall(1); }, 0); });
    cero_evtchn_bind_virq bind{CERO_VIRQ_TIMER, 0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_virq, &bind);
    unmask_port(bind.port);
    keeps("blocked, woken by a timer", [] {
        set_timer_op(system_time() + 5 * ms);
        sched_op(CERO_SCHEDOP_block);
    });
    keeps("running for a while under timer events", [] {
        for (unsigned i = 0; i < 5; ++i) {
            set_timer_op(system_time() + ms);
            wait_for([] { return false; }, 2 * ms);
        }
    });
    disable_events();

    // TS set by the guest: the register contents must survive the #NM that follows.
    load();
    fpu_taskswitch(1);
    check_trap("FPU instruction with TS", guarded([] { asm volatile("movups %xmm0, %xmm1"); }),
               device_not_available);
    fpu_taskswitch(0);
    store();
    check_equal("registers after it", __builtin_memcmp(pattern, result, sizeof pattern), 0);
}
