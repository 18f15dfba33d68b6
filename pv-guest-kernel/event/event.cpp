// SPDX-License-Identifier: BSD-2-Clause
// Event channels, two-level ABI: binding, masking, dispatch; ports of guests under a quota.
#include "event/guest_quota.hpp"
#include "event/upcall.hpp"
#include "sched/run_state.hpp"

#include <kernel/event.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

namespace kernel {

SharedInfoPage shared_info_page;

namespace {

constexpr unsigned words = 64;

struct Binding {
    event::Handler handler;
    void* context;
};
Binding bindings[CERO_EVTCHN_2L_PORTS];
unsigned event_depth;
std::uint64_t events_handled;

std::uint64_t bit_of(event::Port port) noexcept {
    return std::uint64_t{1} << (port % 64);
}
void set_bit(std::uint64_t& word, event::Port port) noexcept {
    __atomic_fetch_or(&word, bit_of(port), __ATOMIC_SEQ_CST);
}
/// The value of the bit before.
bool clear_bit(std::uint64_t& word, event::Port port) noexcept {
    return (__atomic_fetch_and(&word, ~bit_of(port), __ATOMIC_SEQ_CST) & bit_of(port)) != 0;
}
bool is_valid(event::Port port) noexcept {
    return port != 0 && port < CERO_EVTCHN_2L_PORTS;
}

template <typename Argument>
Result<event::Port> bind(unsigned command, Argument argument,
                         event::Port Argument::*port) noexcept {
    const long result = hyper::event_channel_op(command, &argument);
    if (result != 0)
        return errno_of(result);
    event::mask(argument.*port);
    return argument.*port;
}

/// Ports whose events another domain makes, and those of them that wait for the quota's next
/// window: masked, their pending bits set. Both change with events masked.
std::uint64_t guest_ports[words];
std::uint64_t deferred_ports[words];
unsigned guest_port_count;
bool any_deferred;
GuestQuota quota;
bool quota_runs; ///< while there are ports of guests: others do not pay for the clock

void end_of_window(void*);
Timer window_timer{end_of_window, nullptr};

/// Time that this vCPU had, or could have had.
Nanoseconds quota_clock() noexcept {
    return monotonic_ns() - stolen_ns();
}

void deliver_if_pending(event::Port port) noexcept {
    if (!event::is_pending(port))
        return;
    set_bit(this_vcpu_info().evtchn_pending_sel, port / 64);
    __atomic_store_n(&this_vcpu_info().evtchn_upcall_pending, std::uint8_t{1}, __ATOMIC_SEQ_CST);
}

void defer(event::Port port, Nanoseconds now) noexcept {
    set_bit(shared_info().evtchn_mask[port / 64], port);
    deferred_ports[port / 64] |= bit_of(port);
    any_deferred = true;
    if (!window_timer.armed())
        window_timer.arm(monotonic_ns() + quota.time_left(now));
}

void end_of_window(void*) {
    const Nanoseconds now = quota_clock();
    if (quota.is_spent(now))
        window_timer.arm(monotonic_ns() + quota.time_left(now));
    else
        static_cast<void>(release_deferred_events());
}

/// Whether a guest's event has to wait for the next window. When no thread wants the CPU, none
/// has.
bool must_wait(Nanoseconds now) noexcept {
    if (!quota.is_spent(now))
        return false;
    if (any_thread_wants_cpu())
        return true;
    quota.restart(now);
    return false;
}

std::uint64_t deliverable(unsigned word) noexcept {
    return __atomic_load_n(&shared_info().evtchn_pending[word], __ATOMIC_ACQUIRE) &
           ~__atomic_load_n(&shared_info().evtchn_mask[word], __ATOMIC_RELAXED);
}

/// Gives each port that is pending now its turn. What is raised meanwhile waits for the next pass.
void serve_word(unsigned word) noexcept {
    for (std::uint64_t turn = deliverable(word); turn != 0; turn &= turn - 1) {
        const auto port =
            static_cast<event::Port>(word * 64 + static_cast<unsigned>(__builtin_ctzll(turn)));
        if ((deliverable(word) & bit_of(port)) == 0)
            continue; // an earlier handler masked or closed it
        if ((guest_ports[word] & bit_of(port)) != 0) {
            if (const Nanoseconds now = quota_clock(); must_wait(now)) {
                defer(port, now);
                continue;
            }
        }
        clear_bit(shared_info().evtchn_pending[word], port);
        ++events_handled;
        if (bindings[port].handler != nullptr)
            bindings[port].handler(port, bindings[port].context);
        else
            event::mask(port);
    }
}

/// Takes the port out of the quota. Events are masked.
void forget_guest(event::Port port) noexcept {
    const unsigned word = port / 64;
    deferred_ports[word] &= ~bit_of(port);
    if ((guest_ports[word] & bit_of(port)) == 0)
        return;
    guest_ports[word] &= ~bit_of(port);
    if (--guest_port_count == 0)
        quota_runs = false;
}

void note_guest(event::Port port) noexcept {
    guest_ports[port / 64] |= bit_of(port);
    if (guest_port_count++ != 0)
        return;
    if (static bool is_watched = false; !is_watched) {
        is_watched = true;
        watch_stolen_time();
    }
    quota.begin(quota_clock());
    quota_runs = true;
}

} // namespace

bool in_event_context() noexcept {
    return event_depth != 0;
}
std::uint64_t event_count() noexcept {
    return events_handled;
}

void dispatch_events() noexcept {
    ++event_depth;
    if (quota_runs)
        quota.enter(quota_clock());
    while (__atomic_exchange_n(&this_vcpu_info().evtchn_upcall_pending, std::uint8_t{0},
                               __ATOMIC_SEQ_CST) != 0) {
        std::uint64_t selected =
            __atomic_exchange_n(&this_vcpu_info().evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
        for (; selected != 0; selected &= selected - 1)
            serve_word(static_cast<unsigned>(__builtin_ctzll(selected)));
    }
    if (quota_runs)
        quota.leave(quota_clock());
    --event_depth;
}

bool release_deferred_events() noexcept {
    EventGuard guard;
    if (!any_deferred)
        return false;
    any_deferred = false;
    window_timer.cancel();
    for (unsigned word = 0; word < words; ++word) {
        std::uint64_t ports = deferred_ports[word];
        deferred_ports[word] = 0;
        for (; ports != 0; ports &= ports - 1) {
            const auto port =
                static_cast<event::Port>(word * 64 + static_cast<unsigned>(__builtin_ctzll(ports)));
            clear_bit(shared_info().evtchn_mask[word], port);
            deliver_if_pending(port);
        }
    }
    return true;
}

void init_events() noexcept {
    for (unsigned word = 0; word < words; ++word)
        __atomic_store_n(&shared_info().evtchn_mask[word], ~std::uint64_t{0}, __ATOMIC_RELAXED);
}

void measure_event_cost() noexcept {
    constexpr unsigned times = 16;
    quota.begin(quota_clock());
    quota_runs = true;
    for (unsigned i = 0; i < times; ++i) {
        __atomic_store_n(&this_vcpu_info().evtchn_upcall_pending, std::uint8_t{1},
                         __ATOMIC_SEQ_CST);
        hyper::deliver_events();
    }
    quota_runs = guest_port_count != 0;
}

namespace event {

Result<Port> alloc_unbound(DomainId remote) noexcept {
    return bind(CERO_EVTCHNOP_alloc_unbound, cero_evtchn_alloc_unbound{CERO_DOMID_SELF, remote, 0},
                &cero_evtchn_alloc_unbound::port);
}
Result<Port> bind_interdomain(DomainId remote, Port remote_port) noexcept {
    return bind(CERO_EVTCHNOP_bind_interdomain,
                cero_evtchn_bind_interdomain{remote, 0, remote_port, 0},
                &cero_evtchn_bind_interdomain::local_port);
}
Result<Port> bind_virq(std::uint32_t virq) noexcept {
    return bind(CERO_EVTCHNOP_bind_virq, cero_evtchn_bind_virq{virq, 0, 0},
                &cero_evtchn_bind_virq::port);
}
Result<Port> bind_pirq(std::uint32_t pirq, bool shareable) noexcept {
    return bind(CERO_EVTCHNOP_bind_pirq,
                cero_evtchn_bind_pirq{pirq, shareable ? CERO_BIND_PIRQ_WILL_SHARE : 0, 0},
                &cero_evtchn_bind_pirq::port);
}

void set_handler_masked(Port port, Handler handler, void* context) noexcept {
    KERNEL_ASSERT(is_valid(port));
    EventGuard guard;
    forget_guest(port);
    bindings[port] = {handler, context};
}
void set_handler(Port port, Handler handler, void* context) noexcept {
    set_handler_masked(port, handler, context);
    unmask(port);
}
void set_guest_handler(Port port, Handler handler, void* context) noexcept {
    {
        EventGuard guard;
        set_handler_masked(port, handler, context);
        note_guest(port);
    }
    unmask(port);
}

void notify(Port port) noexcept {
    cero_evtchn_send argument{port};
    static_cast<void>(hyper::event_channel_op(CERO_EVTCHNOP_send, &argument));
}

void raise(Port port) noexcept {
    EventGuard guard; // it delivers itself when the guard ends, or to the dispatch that runs
    set_bit(shared_info().evtchn_pending[port / 64], port);
    if ((__atomic_load_n(&shared_info().evtchn_mask[port / 64], __ATOMIC_RELAXED) & bit_of(port)) ==
        0)
        deliver_if_pending(port);
}

void mask(Port port) noexcept {
    EventGuard guard;
    set_bit(shared_info().evtchn_mask[port / 64], port);
    deferred_ports[port / 64] &= ~bit_of(port); // else the end of the window would unmask it
}

void unmask(Port port) noexcept {
    EventGuard guard; // a pending event delivers itself when the guard ends
    deferred_ports[port / 64] &= ~bit_of(port);
    if (clear_bit(shared_info().evtchn_mask[port / 64], port))
        deliver_if_pending(port);
}

bool is_pending(Port port) noexcept {
    return (__atomic_load_n(&shared_info().evtchn_pending[port / 64], __ATOMIC_ACQUIRE) &
            bit_of(port)) != 0;
}
void clear_pending(Port port) noexcept {
    clear_bit(shared_info().evtchn_pending[port / 64], port);
}

void close(Port port) noexcept {
    if (!is_valid(port))
        return;
    mask(port);
    {
        EventGuard guard;
        forget_guest(port);
        bindings[port] = {};
    }
    cero_evtchn_close argument{port};
    static_cast<void>(hyper::event_channel_op(CERO_EVTCHNOP_close, &argument));
    clear_pending(port);
}

} // namespace event
} // namespace kernel
