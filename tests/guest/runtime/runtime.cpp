// SPDX-License-Identifier: BSD-2-Clause
// Verdicts, console, traps, pages, events and user mode of the test kernels.
#include "runtime.hpp"

#include <cero/abi/io/console.h>
#include <cero/lib/format.hpp>

#include <cstdarg>

extern "C" {
extern const guest::Word rt_trap_stubs[32];
extern const guest::Word rt_trap_stub_128, rt_trap_stub_129;
extern guest::Word rt_guard_rsp;
extern char rt_trap_stack_top[];
extern char rt_image_end[];
void rt_event_callback();
void rt_syscall_callback();
void rt_failsafe_callback();
long rt_guarded_call(long (*body)(void*), void* argument);
[[noreturn]] void rt_abandon_call();
void rt_enter_user(guest::Word rip, guest::Word rsp, guest::Word rflags, guest::Word argument);
[[noreturn]] void rt_leave_user();
[[noreturn]] void rt_main(cero_start_info* info);
[[noreturn]] void rt_secondary_main();
void rt_trap(guest::Regs* regs);
extern const char rt_test_name[];
}

namespace guest {

cero_start_info* start_info;
cero_shared_info* shared_info;
TrapHook trap_hook;
volatile Word event_count[4096];
volatile Word upcall_count;

namespace {

Verdict worst = Verdict::success;
unsigned checks;
Trap last_trap;
bool in_user;

Page shared_info_window;
Page user_l4;
alignas(16) unsigned char user_stack[16384];

const Word* p2m() {
    return reinterpret_cast<const Word*>(start_info->mfn_list);
}

void barrier() {
    asm volatile("" ::: "memory");
}

/// The console of an unprivileged domain: bytes into the ring, an event to its backend.
void ring_write(const char* text, std::size_t length) {
    auto* page =
        static_cast<volatile cero_console_page*>(virt_of_mfn(start_info->console.domU.mfn));
    while (length > 0) {
        const std::uint32_t used = page->out_prod - page->out_cons;
        if (used >= sizeof page->out) {
            sched_op(CERO_SCHEDOP_yield);
            continue;
        }
        page->out[page->out_prod % sizeof page->out] = *text++;
        --length;
        barrier();
        page->out_prod = page->out_prod + 1;
    }
    cero_evtchn_send send{start_info->console.domU.evtchn};
    event_channel_op(CERO_EVTCHNOP_send, &send);
}

void write(const char* text, std::size_t length) {
    if (is_first_domain())
        console_io(CERO_CONSOLEIO_write, length, text);
    else
        ring_write(text, length);
}

void print_arguments(const char* prefix, const char* format, va_list arguments) {
    char line[512];
    int at = cero::format_to(line, sizeof line, "%s", prefix);
    at += cero::vformat_to(line + at, sizeof line - static_cast<std::size_t>(at) - 2, format,
                           arguments);
    if (at > static_cast<int>(sizeof line) - 2)
        at = sizeof line - 2;
    line[at++] = '\n';
    write(line, static_cast<std::size_t>(at));
}

const char* verdict_name(Verdict verdict) {
    switch (verdict) {
    case Verdict::success:
        return "SUCCESS";
    case Verdict::skip:
        return "SKIP";
    case Verdict::error:
        return "ERROR";
    case Verdict::failure:
        return "FAILURE";
    }
    return "?";
}

} // namespace

bool is_first_domain() {
    return (start_info->flags & CERO_SIF_INITDOMAIN) != 0;
}

void print(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_arguments("", format, arguments);
    va_end(arguments);
}

void report(Verdict verdict, const char* format, ...) {
    char prefix[16];
    cero::format_to(prefix, sizeof prefix, "%s: ", verdict_name(verdict));
    va_list arguments;
    va_start(arguments, format);
    print_arguments(prefix, format, arguments);
    va_end(arguments);
    if (verdict > worst)
        worst = verdict;
}

void check_equal(const char* what, long actual, long expected) {
    ++checks;
    if (actual != expected)
        report(Verdict::failure, "%s: got %ld (0x%lx), expected %ld", what, actual,
               static_cast<unsigned long>(actual), expected);
}

void check_true(const char* what, bool value) {
    ++checks;
    if (!value)
        report(Verdict::failure, "%s", what);
}

void finish() {
    print("%u checks", checks);
    print("verdict %s: %s", rt_test_name, verdict_name(worst));
    cero_sched_shutdown shutdown{CERO_SHUTDOWN_poweroff};
    for (;;)
        sched_op(CERO_SCHEDOP_shutdown, &shutdown);
}

// -------------------------------------------------------------------------------------------------
// Pages.

Word pfn_of(const volatile void* va) {
    return (address(va) - virt_base) / page_size;
}
Word mfn_of_pfn(Word pfn) {
    return p2m()[pfn];
}
Word mfn_of(const volatile void* va) {
    return mfn_of_pfn(pfn_of(va));
}
Word pfn_of_mfn(Word mfn) {
    return reinterpret_cast<const volatile Word*>(CERO_M2P_VIRT_START)[mfn];
}
void* virt_of_mfn(Word mfn) {
    return reinterpret_cast<void*>(virt_base + pfn_of_mfn(mfn) * page_size);
}

const volatile Word* entry_of(Word va, unsigned level) {
    const auto* table = reinterpret_cast<const volatile Word*>(start_info->pt_base);
    for (unsigned at = 4;; --at) {
        const volatile Word* entry = table + ((va >> (12 + 9 * (at - 1))) & 511);
        if (at == level)
            return entry;
        if ((*entry & pte_present) == 0)
            return nullptr;
        table =
            static_cast<const volatile Word*>(virt_of_mfn((*entry & pte_frame_mask) / page_size));
    }
}

Word entry_maddr(Word va, unsigned level) {
    const volatile Word* entry = entry_of(va, level);
    return mfn_of(entry) * page_size + address(entry) % page_size;
}

Page* take_page() {
    // The initial mapping goes on for at least 512 KiB behind the boot stack, which follows the
    // tables.
    static Word next = start_info->pt_base + start_info->nr_pt_frames * page_size + page_size;
    const Word va = next;
    next += page_size;
    if (entry_of(va) == nullptr || (*entry_of(va) & pte_present) == 0) {
        report(Verdict::error, "no page left in the initial mapping");
        finish();
    }
    auto* page = reinterpret_cast<Page*>(va);
    for (Word& word : page->words)
        word = 0;
    return page;
}

void make_readonly(const volatile void* page) {
    if (update_va_mapping(address(page), mfn_of(page) * page_size | pte_ro, CERO_UVMF_INVLPG) !=
        0) {
        report(Verdict::error, "cannot make %p read-only", const_cast<void*>(page));
        finish();
    }
}

void make_writable(const volatile void* page) {
    if (update_va_mapping(address(page), mfn_of(page) * page_size | pte_rw, CERO_UVMF_INVLPG) !=
        0) {
        report(Verdict::error, "cannot make %p writable", const_cast<void*>(page));
        finish();
    }
}

// -------------------------------------------------------------------------------------------------
// Traps.

Trap guarded_call(long (*body)(void*), void* argument, long* result) {
    last_trap = Trap{};
    const long value = rt_guarded_call(body, argument);
    if (result != nullptr)
        *result = value;
    return last_trap;
}

void check_trap(const char* what, const Trap& trap, Word vector, long error_code) {
    ++checks;
    if (trap.vector != vector ||
        (error_code != -1 && trap.error_code != static_cast<Word>(error_code)))
        report(Verdict::failure,
               "%s: trap %lu, error code 0x%lx; expected trap %lu, error code 0x%lx", what,
               trap.vector, trap.error_code, vector, static_cast<Word>(error_code));
}

namespace {

void handle_events() {
    upcall_count = upcall_count + 1;
    cero_vcpu_info& info = vcpu_info();
    __atomic_store_n(&info.evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
    Word selected = __atomic_exchange_n(&info.evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    while (selected != 0) {
        const auto word = static_cast<unsigned>(__builtin_ctzl(selected));
        selected &= selected - 1;
        Word ready = __atomic_load_n(&shared_info->evtchn_pending[word], __ATOMIC_SEQ_CST) &
                     ~__atomic_load_n(&shared_info->evtchn_mask[word], __ATOMIC_SEQ_CST);
        while (ready != 0) {
            const auto bit = static_cast<unsigned>(__builtin_ctzl(ready));
            ready &= ready - 1;
            __atomic_fetch_and(&shared_info->evtchn_pending[word], ~(1ul << bit), __ATOMIC_SEQ_CST);
            event_count[word * 64 + bit] = event_count[word * 64 + bit] + 1;
        }
    }
}

[[noreturn]] void unexpected(const Regs& regs) {
    report(Verdict::error, "unexpected trap %lu, error code 0x%lx, rip 0x%lx, cr2 0x%lx, rsp 0x%lx",
           regs.vector, regs.error_code, regs.rip, vcpu_info().arch.cr2, regs.rsp);
    finish();
}

} // namespace

Trap run_user(void (*entry)(Word), Word argument, Word rflags) {
    static bool prepared = false;
    if (!prepared) {
        // The image lies in slot 511, which the user's table shares with the kernel's.
        user_l4.words[511] = *entry_of(virt_base, 4);
        make_readonly(&user_l4);
        if (mmuext_one(CERO_MMUEXT_PIN_L4_TABLE, mfn_of(&user_l4)) != 0 ||
            mmuext_one(CERO_MMUEXT_NEW_USER_BASEPTR, mfn_of(&user_l4)) != 0) {
            report(Verdict::error, "no user page table");
            finish();
        }
        prepared = true;
    }
    stack_switch(CERO_FLAT_RING3_SS, address(rt_trap_stack_top));
    last_trap = Trap{};
    in_user = true;
    // As after a call: rsp is 8 below a multiple of 16.
    rt_enter_user(reinterpret_cast<Word>(entry), address(user_stack + sizeof user_stack) - 8,
                  rflags, argument);
    return last_trap;
}

// -------------------------------------------------------------------------------------------------
// Events and time.

cero_vcpu_info& vcpu_info() {
    return shared_info->vcpu_info[0];
}

void unmask_port(std::uint32_t port) {
    __atomic_fetch_and(&shared_info->evtchn_mask[port / 64], ~(1ul << port % 64), __ATOMIC_SEQ_CST);
}
void mask_port(std::uint32_t port) {
    __atomic_fetch_or(&shared_info->evtchn_mask[port / 64], 1ul << port % 64, __ATOMIC_SEQ_CST);
}
bool port_pending(std::uint32_t port) {
    return (__atomic_load_n(&shared_info->evtchn_pending[port / 64], __ATOMIC_SEQ_CST) >>
                port % 64 &
            1) != 0;
}
void enable_events() {
    __atomic_store_n(&vcpu_info().evtchn_upcall_mask, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vcpu_info().evtchn_upcall_pending, __ATOMIC_SEQ_CST) != 0)
        xen_version(CERO_XENVER_version); // any hypercall delivers what is pending
}
void disable_events() {
    __atomic_store_n(&vcpu_info().evtchn_upcall_mask, 1, __ATOMIC_SEQ_CST);
}

Word read_tsc() {
    std::uint32_t low, high;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return static_cast<Word>(high) << 32 | low;
}

/// (value * factor) >> 32 without losing the product's upper bits.
Word multiply_shifted(Word value, std::uint32_t factor) {
    return (value >> 32) * factor + ((value & 0xffffffff) * factor >> 32);
}

Word system_time() {
    const volatile cero_vcpu_time_info& time = vcpu_info().time;
    for (;;) {
        const std::uint32_t version = time.version;
        barrier();
        Word delta = read_tsc() - time.tsc_timestamp;
        delta = time.tsc_shift >= 0 ? delta << time.tsc_shift : delta >> -time.tsc_shift;
        const Word now = time.system_time + multiply_shifted(delta, time.tsc_to_system_mul);
        barrier();
        if ((version & 1) == 0 && version == time.version)
            return now;
    }
}

bool wait_for(bool (*condition)(), Word limit_ns) {
    const Word end = system_time() + limit_ns;
    while (!condition())
        if (system_time() > end)
            return condition();
    return true;
}

[[gnu::weak]] void secondary_main() {}

namespace {

void register_callback(std::uint16_t type, void (*entry)()) {
    cero_callback_register callback{type, 0, 0, reinterpret_cast<Word>(entry)};
    if (callback_op(CERO_CALLBACKOP_register, &callback) != 0)
        report(Verdict::error, "callback %u refused", type);
}

} // namespace

void install_handlers() {
    static cero_trap_info table[35];
    unsigned count = 0;
    for (unsigned vector = 0; vector < 32; ++vector) {
        // INT3 and INTO may be executed by user mode.
        const std::uint8_t level = vector == 3 || vector == 4 ? 3 : 0;
        table[count++] = {static_cast<std::uint8_t>(vector), level, CERO_FLAT_RING3_CS64, 0,
                          rt_trap_stubs[vector]};
    }
    table[count++] = {128, 3, CERO_FLAT_RING3_CS64, 0, rt_trap_stub_128};
    table[count++] = {129, 1, CERO_FLAT_RING3_CS64, 0, rt_trap_stub_129};
    if (set_trap_table(table) != 0)
        report(Verdict::error, "trap table refused");
    register_callback(CERO_CALLBACKTYPE_event, rt_event_callback);
    register_callback(CERO_CALLBACKTYPE_failsafe, rt_failsafe_callback);
    register_callback(CERO_CALLBACKTYPE_syscall, rt_syscall_callback);
}

namespace {

void set_up() {
    install_handlers();
    if (update_va_mapping(address(&shared_info_window), start_info->shared_info | pte_rw,
                          CERO_UVMF_INVLPG) != 0) {
        report(Verdict::error, "shared_info cannot be mapped");
        finish();
    }
    shared_info = reinterpret_cast<cero_shared_info*>(&shared_info_window);
    for (auto& word : shared_info->evtchn_mask)
        word = ~0ul;
}

} // namespace
} // namespace guest

using namespace guest;

void rt_trap(Regs* regs) {
    if (regs->vector == event_upcall) {
        handle_events();
        return;
    }
    if (trap_hook != nullptr && trap_hook(*regs))
        return;
    last_trap = Trap{regs->vector, regs->error_code, regs->rip,
                     shared_info != nullptr ? vcpu_info().arch.cr2 : 0, *regs};
    if (regs->from_user() || regs->vector == syscall_entry) {
        if (!in_user)
            unexpected(*regs);
        in_user = false;
        rt_leave_user();
    }
    if (rt_guard_rsp == 0)
        unexpected(*regs);
    rt_abandon_call();
}

void rt_main(cero_start_info* info) {
    start_info = info;
    print("test %s", rt_test_name);
    set_up();
    test_main();
    finish();
}

void rt_secondary_main() {
    secondary_main();
    vcpu_op(CERO_VCPUOP_down, 1);
    for (;;)
        sched_op(CERO_SCHEDOP_block);
}
