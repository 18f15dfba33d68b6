/* SPDX-License-Identifier: BSD-2-Clause */
/* A complete kernel for the PV ABI in one file: it boots, prints, takes timer events, and obeys a
 * shutdown request. docs/porting.md walks through it; it uses nothing but the public headers in
 * hypercall-abi/. */
#include <cero/abi/event.h>
#include <cero/abi/hypercall.h>
#include <cero/abi/io/console.h>
#include <cero/abi/io/store.h>
#include <cero/abi/mmu.h>
#include <cero/abi/sched.h>
#include <cero/abi/shared_info.h>
#include <cero/abi/start_info.h>
#include <cero/abi/trap.h>

#define VIRT_BASE 0xffffffff80000000ull
#define TICK_NS 100000000ull

void event_entry(void);
void handle_events(void);
_Noreturn void minimal_main(struct cero_start_info* info);

/* ---- Step 3: hypercalls. Number in rax, arguments in rdi, rsi, rdx; rcx and r11 are lost. ---- */

static long hypercall(unsigned long number, unsigned long a1, unsigned long a2, unsigned long a3) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3)
                     : "0"(number)
                     : "rcx", "r11", "r8", "r10", "memory");
    return result;
}

static long event_op(unsigned long command, void* argument) {
    return hypercall(CERO_HYPERCALL_event_channel_op, command, (unsigned long)argument, 0);
}

static void notify(uint32_t port) {
    struct cero_evtchn_send send = {port};
    event_op(CERO_EVTCHNOP_send, &send);
}

static _Noreturn void shut_down(uint32_t reason) {
    struct cero_sched_shutdown shutdown = {reason};
    for (;;)
        hypercall(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_shutdown, (unsigned long)&shutdown, 0);
}

/* ---- Memory. The builder has mapped our memory at VIRT_BASE; machine frames are named by mfn.
 * ---- */

static struct cero_start_info* start_info;
static struct cero_shared_info* shared_info;
static char shared_info_page[CERO_PAGE_SIZE] __attribute__((aligned(4096)));

/* The machine-to-physical table tells which of our pages a machine frame is. */
static void* page_of_frame(uint64_t mfn) {
    const volatile uint64_t* m2p = (const volatile uint64_t*)CERO_M2P_VIRT_START;
    return (void*)(VIRT_BASE + m2p[mfn] * CERO_PAGE_SIZE);
}

/* shared_info is a page of the hypervisor's: map it in place of one of ours. Entry bits: present,
 * writable. */
static long map_shared_info(void) {
    shared_info = (struct cero_shared_info*)shared_info_page;
    return hypercall(CERO_HYPERCALL_update_va_mapping, (unsigned long)shared_info_page,
                     start_info->shared_info | 3, CERO_UVMF_INVLPG);
}

/* ---- Step 4: the console: a ring to the console service, or console_io for the first domain. ----
 */

static int is_first_domain(void) {
    return (start_info->flags & CERO_SIF_INITDOMAIN) != 0;
}

static void print(const char* text) {
    unsigned length = 0;
    while (text[length] != 0)
        length++;
    if (is_first_domain()) {
        hypercall(CERO_HYPERCALL_console_io, CERO_CONSOLEIO_write, length, (unsigned long)text);
        return;
    }
    volatile struct cero_console_page* ring = page_of_frame(start_info->console.domU.mfn);
    for (unsigned i = 0; i < length; i++) {
        while (ring->out_prod - ring->out_cons == sizeof ring->out)
            hypercall(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_yield, 0, 0);
        ring->out[ring->out_prod % sizeof ring->out] = text[i];
        __atomic_thread_fence(__ATOMIC_RELEASE); /* the byte before the index */
        ring->out_prod++;
    }
    notify(start_info->console.domU.evtchn);
}

static void print_number(const char* before, unsigned long value, const char* after) {
    char digits[24];
    unsigned at = sizeof digits - 1;
    digits[at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    print(before);
    print(digits + at);
    print(after);
}

/* ---- Step 5: events. A port is an interrupt line; pending and mask bits lie in shared_info. ----
 */

static volatile int timer_fired, store_event;
static uint32_t timer_port, store_port;

static struct cero_vcpu_info* this_vcpu(void) {
    return &shared_info->vcpu_info[0];
}

static void unmask(uint32_t port) {
    __atomic_fetch_and(&shared_info->evtchn_mask[port / 64], ~(1ull << port % 64),
                       __ATOMIC_SEQ_CST);
}

/* Called by event_entry with events masked. Order matters: the flag, then the selector, then the
 * words. */
void handle_events(void) {
    __atomic_store_n(&this_vcpu()->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
    uint64_t selector = __atomic_exchange_n(&this_vcpu()->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (unsigned word = 0; word < 64; word++) {
        if ((selector >> word & 1) == 0)
            continue;
        uint64_t ready = shared_info->evtchn_pending[word] & ~shared_info->evtchn_mask[word];
        __atomic_fetch_and(&shared_info->evtchn_pending[word], ~ready, __ATOMIC_SEQ_CST);
        if (timer_port / 64 == word && (ready >> timer_port % 64 & 1) != 0)
            timer_fired = 1;
        if (store_port / 64 == word && (ready >> store_port % 64 & 1) != 0)
            store_event = 1;
    }
}

static long set_up_events(void) {
    struct cero_callback_register callback = {CERO_CALLBACKTYPE_event, 0, 0, (uint64_t)event_entry};
    struct cero_evtchn_bind_virq timer = {CERO_VIRQ_TIMER, 0, 0};
    for (unsigned word = 0; word < 64; word++)
        shared_info->evtchn_mask[word] = ~0ull;
    long error = hypercall(CERO_HYPERCALL_callback_op, CERO_CALLBACKOP_register,
                           (unsigned long)&callback, 0);
    if (error == 0)
        error = event_op(CERO_EVTCHNOP_bind_virq, &timer);
    timer_port = timer.port;
    store_port = start_info->store_evtchn; /* 0 if there is no store; port 0 never fires */
    unmask(timer_port);
    if (store_port != 0)
        unmask(store_port);
    return error;
}

/* ---- Step 6: time. Nanoseconds since the system started, out of the TSC and a scale. ---- */

static uint64_t now(void) {
    const volatile struct cero_vcpu_time_info* time = &this_vcpu()->time;
    for (;;) {
        uint32_t version = time->version, low, high;
        __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
        uint64_t delta = ((uint64_t)high << 32 | low) - time->tsc_timestamp;
        delta = time->tsc_shift >= 0 ? delta << time->tsc_shift : delta >> -time->tsc_shift;
        uint64_t scale = time->tsc_to_system_mul;
        uint64_t result =
            time->system_time + (delta >> 32) * scale + ((delta & 0xffffffff) * scale >> 32);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if ((version & 1) == 0 && version == time->version) /* nobody wrote meanwhile */
            return result;
    }
}

/* Sleeps until an event comes: `block` lifts the mask and waits in one step, so none is lost. */
static void wait_for_event(void) {
    hypercall(CERO_HYPERCALL_sched_op, CERO_SCHEDOP_block, 0, 0);
    this_vcpu()->evtchn_upcall_mask = 1;
}

/* ---- Step 7: XenStore, as far as a shutdown request needs it. Messages: a header, then strings
 * with NUL. ---- */

static void store_transfer(void* data, unsigned length, int to_store) {
    volatile struct cero_xenstore_page* ring = page_of_frame(start_info->store_mfn);
    char* bytes = data;
    while (length > 0) {
        const uint32_t used =
            to_store ? ring->req_prod - ring->req_cons : ring->rsp_prod - ring->rsp_cons;
        if (used == (to_store ? CERO_XENSTORE_RING_SIZE
                              : 0)) { /* full, or empty: wait for the other side */
            wait_for_event();
            continue;
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* index before data, data before index */
        if (to_store)
            ring->req[ring->req_prod % CERO_XENSTORE_RING_SIZE] = *bytes++;
        else
            *bytes++ = ring->rsp[ring->rsp_cons % CERO_XENSTORE_RING_SIZE];
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (to_store)
            ring->req_prod++;
        else
            ring->rsp_cons++;
        length--;
    }
    notify(start_info->store_evtchn);
}

static void store_request(uint32_t type, const char* payload, unsigned length) {
    struct cero_xenstore_message header = {type, type, 0, length};
    char copy[128];
    for (unsigned i = 0; i < length; i++)
        copy[i] = payload[i];
    store_transfer(&header, sizeof header, 1);
    store_transfer(copy, length, 1);
}

/* Receives one message; its payload, cut to fit and ended by NUL, in `text`. Returns its type. */
static uint32_t store_receive(char* text, unsigned size) {
    struct cero_xenstore_message header;
    store_transfer(&header, sizeof header, 0);
    unsigned kept = 0;
    for (unsigned i = 0; i < header.len; i++) {
        char byte;
        store_transfer(&byte, 1, 0);
        if (kept < size - 1)
            text[kept++] = byte;
    }
    text[kept] = 0;
    return header.type;
}

#define SHUTDOWN_KEY "control/shutdown"

/* Waits for the control domain to write the key; answers by emptying it; returns the first letter
 * written. */
static char wait_for_shutdown_request(void) {
    char text[64];
    store_request(CERO_XS_WATCH, SHUTDOWN_KEY "\0minimal", sizeof SHUTDOWN_KEY "\0minimal");
    for (;;) {
        uint32_t type = store_receive(text, sizeof text);
        if (type == CERO_XS_WATCH_EVENT) /* fires at once, and for each change */
            store_request(CERO_XS_READ, SHUTDOWN_KEY, sizeof SHUTDOWN_KEY);
        if (type == CERO_XS_READ && text[0] != 0) {
            store_request(CERO_XS_WRITE, SHUTDOWN_KEY, sizeof SHUTDOWN_KEY); /* an empty value */
            return text[0];
        }
    }
}

/* ---- */

void minimal_main(struct cero_start_info* info) {
    start_info = info;
    print("minimal: hello\n");
    if (map_shared_info() != 0 || set_up_events() != 0) {
        print("minimal: set-up failed\n");
        shut_down(CERO_SHUTDOWN_crash);
    }
    print_number("minimal: ", start_info->nr_pages, " pages of memory\n");

    for (unsigned tick = 1; tick <= 3; tick++) {
        const uint64_t deadline = now() + TICK_NS;
        timer_fired = 0;
        hypercall(CERO_HYPERCALL_set_timer_op, deadline, 0, 0);
        while (!timer_fired)
            wait_for_event();
        print_number("minimal: timer event ", tick, now() >= deadline ? "\n" : " came early\n");
    }

    if (start_info->store_evtchn == 0) {
        print("minimal: no store; powering off\n");
        shut_down(CERO_SHUTDOWN_poweroff);
    }
    print("minimal: waiting for a shutdown request\n");
    const char request = wait_for_shutdown_request();
    print("minimal: shutting down as asked\n");
    shut_down(request == 'r' ? CERO_SHUTDOWN_reboot : CERO_SHUTDOWN_poweroff);
}
