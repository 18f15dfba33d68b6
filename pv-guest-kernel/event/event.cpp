// SPDX-License-Identifier: BSD-2-Clause
// Event channels, two-level ABI: binding, masking, dispatch.
#include "event/upcall.hpp"

#include <kernel/event.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>

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

void handle_word(unsigned word) noexcept {
    for (;;) {
        const std::uint64_t pending =
            __atomic_load_n(&shared_info().evtchn_pending[word], __ATOMIC_ACQUIRE) &
            ~__atomic_load_n(&shared_info().evtchn_mask[word], __ATOMIC_RELAXED);
        if (pending == 0)
            return;
        const auto port =
            static_cast<event::Port>(word * 64 + static_cast<unsigned>(__builtin_ctzll(pending)));
        clear_bit(shared_info().evtchn_pending[word], port);
        ++events_handled;
        if (bindings[port].handler != nullptr)
            bindings[port].handler(port, bindings[port].context);
        else
            event::mask(port);
    }
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
    while (__atomic_exchange_n(&this_vcpu_info().evtchn_upcall_pending, std::uint8_t{0},
                               __ATOMIC_SEQ_CST) != 0) {
        std::uint64_t selected =
            __atomic_exchange_n(&this_vcpu_info().evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
        while (selected != 0) {
            handle_word(static_cast<unsigned>(__builtin_ctzll(selected)));
            selected &= selected - 1;
        }
    }
    --event_depth;
}

void init_events() noexcept {
    for (unsigned word = 0; word < words; ++word)
        __atomic_store_n(&shared_info().evtchn_mask[word], ~std::uint64_t{0}, __ATOMIC_RELAXED);
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
    bindings[port] = {handler, context};
}
void set_handler(Port port, Handler handler, void* context) noexcept {
    set_handler_masked(port, handler, context);
    unmask(port);
}

void notify(Port port) noexcept {
    cero_evtchn_send argument{port};
    static_cast<void>(hyper::event_channel_op(CERO_EVTCHNOP_send, &argument));
}

void mask(Port port) noexcept {
    set_bit(shared_info().evtchn_mask[port / 64], port);
}

void unmask(Port port) noexcept {
    EventGuard guard; // a pending event delivers itself when the guard ends
    if (!clear_bit(shared_info().evtchn_mask[port / 64], port))
        return;
    if (is_pending(port)) {
        set_bit(this_vcpu_info().evtchn_pending_sel, port / 64);
        __atomic_store_n(&this_vcpu_info().evtchn_upcall_pending, std::uint8_t{1},
                         __ATOMIC_SEQ_CST);
    }
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
        bindings[port] = {};
    }
    cero_evtchn_close argument{port};
    static_cast<void>(hyper::event_channel_op(CERO_EVTCHNOP_close, &argument));
    clear_pending(port);
}

} // namespace event
} // namespace kernel
