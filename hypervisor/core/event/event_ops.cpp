// SPDX-License-Identifier: BSD-2-Clause
// event_channel_op: making, connecting, moving and closing event channels.
#include <core/event/event.hpp>

#include <core/domain/pirq.hpp>
#include <core/frame/frame_table.hpp>
#include <core/hypercall/handlers.hpp>

namespace cero::event {
namespace {

/// Connecting and closing interdomain channels: while it is held no channel enters or leaves the
/// interdomain state, so `remote` pointers stay valid without the peer's lock.
Spinlock<LockRank::binding> binding_lock;

/// Holds the locks of two tables, which may be the same.
struct PairGuard {
    LockGuard<Spinlock<LockRank::event>> first;
    Spinlock<LockRank::event>* second;
    PairGuard(Domain& a, Domain& b) noexcept
        : first{(a.slot <= b.slot ? a : b).events.lock}, second{&(a.slot <= b.slot ? b : a).events.lock} {
        if (&a == &b) second = nullptr;
        if (second != nullptr) second->lock();
    }
    ~PairGuard() {
        if (second != nullptr) second->unlock();
    }
};

/// A free port with memory behind it. Table lock held. The channel stays closed until the caller
/// sets its state.
Result<std::uint32_t> free_port(Domain& domain) {
    if (domain.is_dying()) return Errno::srch;
    EventTable& table = domain.events;
    for (std::uint32_t port = table.search_from; port < table.limit; ++port) {
        EventChannel*& page = table.pages[port / channels_per_page];
        if (page == nullptr) {
            auto* channels = arch::frame_ptr<EventChannel>(TRY(allocate_hypervisor_frame()));
            for (unsigned n = 0; n < channels_per_page; ++n) ::new (&channels[n]) EventChannel;
            page = channels;
        }
        if (page[port % channels_per_page].state == ChannelState::closed) return table.search_from = port;
    }
    return Errno::nospc;
}

/// Gives a channel its state; it starts with nothing pending.
EventChannel& open(Domain& domain, std::uint32_t port, ChannelState state, std::uint32_t vcpu, std::uint32_t number) {
    EventTable& table = domain.events;
    EventChannel& channel = *table.find(EventPort{port});
    clear_pending(domain, port);
    channel.vcpu = static_cast<std::uint16_t>(vcpu);
    channel.number = number;
    channel.state = state;
    ++table.in_use;
    table.search_from = port + 1;
    return channel;
}

/// The domain that an operation is about: the caller, or any other one for the control domain.
Result<DomainRef> subject(Vcpu& current, cero_domid id) {
    const DomainId own = current.domain->id;
    const bool is_own = id == CERO_DOMID_SELF || DomainId{id} == own;
    if (!is_own && !current.domain->is_control) return Errno::perm;
    DomainRef domain = find_domain(is_own ? own : DomainId{id});
    if (!domain) return Errno::srch;
    return domain;
}

Status alloc_unbound(Vcpu& current, GuestPtr<cero_evtchn_alloc_unbound> argument, cero_evtchn_alloc_unbound& op) {
    const DomainRef ref = TRY(subject(current, op.dom));
    Domain& domain = *ref;
    const DomainId remote = op.remote_dom == CERO_DOMID_SELF ? current.domain->id : DomainId{op.remote_dom};
    LockGuard guard{domain.events.lock};
    op.port = TRY(free_port(domain));
    TRY(argument.write(op)); // before the port is open: nothing to undo
    open(domain, op.port, ChannelState::unbound, 0, 0).remote_id = remote.raw();
    return {};
}

Status bind_interdomain(Vcpu& current, GuestPtr<cero_evtchn_bind_interdomain> argument,
                        cero_evtchn_bind_interdomain& op) {
    Domain& local = *current.domain;
    const DomainRef remote_ref = find_domain(DomainId{op.remote_dom});
    if (!remote_ref) return Errno::srch;
    Domain& remote = *remote_ref;
    {
        LockGuard binding{binding_lock};
        PairGuard guard{local, remote};
        op.local_port = TRY(free_port(local));
        EventChannel* peer = remote.events.find(EventPort{op.remote_port});
        if (peer == nullptr || peer->state != ChannelState::unbound || peer->remote_id != local.id.raw() ||
            remote.is_dying() || (&remote == &local && op.remote_port == op.local_port))
            return Errno::inval;
        TRY(argument.write(op));
        open(local, op.local_port, ChannelState::interdomain, current.id.raw(), op.remote_port).remote = &remote;
        peer->state = ChannelState::interdomain;
        peer->number = op.local_port;
        peer->remote = &local;
    }
    // The peer may have sent while the port was unbound: let the guest look.
    raise_port(local, op.local_port);
    return {};
}

/// Where the port of a VIRQ is kept.
std::uint16_t& virq_port(Domain& domain, std::uint32_t virq, Vcpu& vcpu) noexcept {
    const int index = vcpu_virq_index(virq);
    return index < 0 ? domain.global_virq_port[virq] : vcpu.virq_port[index];
}

Status bind_virq(Vcpu& current, GuestPtr<cero_evtchn_bind_virq> argument, cero_evtchn_bind_virq& op) {
    Domain& domain = *current.domain;
    if (op.virq >= CERO_NR_VIRQS) return Errno::inval;
    if (vcpu_virq_index(op.virq) < 0 && op.vcpu != 0) return Errno::inval;
    Vcpu* vcpu = domain.vcpu(op.vcpu);
    if (vcpu == nullptr) return Errno::noent;
    std::uint16_t& bound = virq_port(domain, op.virq, *vcpu);
    LockGuard guard{domain.events.lock};
    if (bound != 0) return Errno::exist;
    op.port = TRY(free_port(domain));
    TRY(argument.write(op));
    open(domain, op.port, ChannelState::virq, op.vcpu, op.virq);
    __atomic_store_n(&bound, static_cast<std::uint16_t>(op.port), __ATOMIC_RELEASE);
    return {};
}

Status bind_ipi(Vcpu& current, GuestPtr<cero_evtchn_bind_ipi> argument, cero_evtchn_bind_ipi& op) {
    Domain& domain = *current.domain;
    if (domain.vcpu(op.vcpu) == nullptr) return Errno::noent;
    LockGuard guard{domain.events.lock};
    op.port = TRY(free_port(domain));
    TRY(argument.write(op));
    open(domain, op.port, ChannelState::ipi, op.vcpu, 0);
    return {};
}

Status bind_pirq(Vcpu& current, GuestPtr<cero_evtchn_bind_pirq> argument, cero_evtchn_bind_pirq& op) {
    Domain& domain = *current.domain;
    if (!domain.rights.pirqs.contains(op.pirq, op.pirq)) return Errno::perm;
    LockGuard guard{domain.events.lock};
    op.port = TRY(free_port(domain));
    TRY(pirq::bind(domain, Pirq{op.pirq}, EventPort{op.port}, domain.vcpus[0]->last_cpu()));
    if (const Status written = argument.write(op); !written) {
        pirq::unbind(domain, Pirq{op.pirq});
        return written.error();
    }
    open(domain, op.port, ChannelState::pirq, 0, op.pirq);
    return {};
}

/// inval: the port is not open.
Status close_port(Domain& domain, std::uint32_t port) {
    LockGuard binding{binding_lock};
    EventChannel* channel = domain.events.find(EventPort{port});
    if (channel == nullptr) return Errno::inval;
    Domain& remote = channel->state == ChannelState::interdomain ? *channel->remote : domain;
    PairGuard guard{domain, remote};
    if (channel->state == ChannelState::closed) return Errno::inval;
    if (channel->state == ChannelState::interdomain) {
        EventChannel& peer = *remote.events.find(EventPort{channel->number});
        peer.state = ChannelState::unbound;
        peer.number = 0;
        peer.remote_id = domain.id.raw();
    } else if (channel->state == ChannelState::virq) {
        std::uint16_t& bound = virq_port(domain, channel->number, *domain.vcpus[channel->vcpu]);
        __atomic_store_n(&bound, std::uint16_t{0}, __ATOMIC_RELEASE);
    } else if (channel->state == ChannelState::pirq) {
        pirq::unbind(domain, Pirq{channel->number});
    }
    *channel = EventChannel{}; // last: a channel may be its own peer
    clear_pending(domain, port);
    --domain.events.in_use;
    if (port < domain.events.search_from) domain.events.search_from = port;
    return {};
}

Status close(Vcpu& current, GuestPtr<cero_evtchn_close>, const cero_evtchn_close& op) {
    return close_port(*current.domain, op.port);
}

Status send(Vcpu& current, GuestPtr<cero_evtchn_send>, const cero_evtchn_send& op) {
    Domain& domain = *current.domain;
    LockGuard guard{domain.events.lock};
    const EventChannel* channel = domain.events.find(EventPort{op.port});
    if (channel == nullptr) return Errno::inval;
    switch (channel->state) {
    case ChannelState::interdomain: raise_port(*channel->remote, channel->number); return {};
    case ChannelState::ipi: raise_channel(domain, op.port, *channel); return {};
    case ChannelState::unbound: return {}; // the peer is not there yet: as if it had missed it
    default: return Errno::inval;
    }
}

Status status(Vcpu& current, GuestPtr<cero_evtchn_status> argument, cero_evtchn_status& op) {
    const DomainRef ref = TRY(subject(current, op.dom));
    Domain& domain = *ref;
    if (op.port == 0 || op.port >= domain.events.limit) return Errno::inval;
    LockGuard guard{domain.events.lock};
    const EventChannel* channel = domain.events.find(EventPort{op.port});
    const EventChannel closed;
    if (channel == nullptr) channel = &closed;
    op.vcpu = channel->vcpu;
    op.u = {};
    op.status = static_cast<std::uint32_t>(channel->state);
    if (channel->state == ChannelState::interdomain) {
        op.u.interdomain.dom = channel->remote->id.raw();
        op.u.interdomain.port = channel->number;
    } else if (channel->state == ChannelState::unbound) {
        op.u.unbound.dom = static_cast<cero_domid>(channel->remote_id);
    } else {
        op.u.virq = channel->number; // or the pirq: at the same place
    }
    return argument.write(op);
}

Status bind_vcpu(Vcpu& current, GuestPtr<cero_evtchn_bind_vcpu>, const cero_evtchn_bind_vcpu& op) {
    Domain& domain = *current.domain;
    if (domain.vcpu(op.vcpu) == nullptr) return Errno::noent;
    LockGuard guard{domain.events.lock};
    EventChannel* channel = domain.events.find(EventPort{op.port});
    if (channel == nullptr) return Errno::inval;
    const bool vcpu_virq = channel->state == ChannelState::virq && vcpu_virq_index(channel->number) >= 0;
    if (vcpu_virq || channel->state == ChannelState::ipi || channel->state == ChannelState::closed) return Errno::inval;
    __atomic_store_n(&channel->vcpu, static_cast<std::uint16_t>(op.vcpu), __ATOMIC_RELAXED);
    return {};
}

Status unmask_op(Vcpu& current, GuestPtr<cero_evtchn_unmask>, const cero_evtchn_unmask& op) {
    return unmask(*current.domain, op.port);
}

Status reset(Vcpu& current, GuestPtr<cero_evtchn_reset>, const cero_evtchn_reset& op) {
    return close_all(*TRY(subject(current, op.dom)));
}

/// Calls an operation with its argument, of the type that it takes.
template <typename Argument, typename Op>
Status with(Status (*operation)(Vcpu&, GuestPtr<Argument>, Op&), Vcpu& current, std::uint64_t address) {
    const GuestPtr<Argument> argument{address};
    Argument op = TRY(argument.read());
    return operation(current, argument, op);
}

/// Everything but the two operations that guests use all the time.
[[gnu::noinline]] Status set_up(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    switch (command) {
    case CERO_EVTCHNOP_bind_interdomain: return with(bind_interdomain, current, argument);
    case CERO_EVTCHNOP_bind_virq: return with(bind_virq, current, argument);
    case CERO_EVTCHNOP_bind_pirq: return with(bind_pirq, current, argument);
    case CERO_EVTCHNOP_bind_ipi: return with(bind_ipi, current, argument);
    case CERO_EVTCHNOP_bind_vcpu: return with(bind_vcpu, current, argument);
    case CERO_EVTCHNOP_close: return with(close, current, argument);
    case CERO_EVTCHNOP_status: return with(status, current, argument);
    case CERO_EVTCHNOP_alloc_unbound: return with(alloc_unbound, current, argument);
    case CERO_EVTCHNOP_reset: {
        const Status done = with(reset, current, argument);
        return done.error() == Errno::restart ? hypercall_continue(current, command, argument) : done.error();
    }
    default: return Errno::nosys; // the FIFO operations: guests then use the 2-level ABI
    }
}

} // namespace

Status close_all(Domain& domain) {
    std::uint32_t& port = domain.events.close_from;
    for (; port < domain.events.limit; ++port) {
        if (domain.events.find(EventPort{port}) == nullptr) {
            port |= channels_per_page - 1; // no memory: the whole page is closed
            continue;
        }
        static_cast<void>(close_port(domain, port));
        if (port % 64 == 63 && arch::preemption_point()) {
            ++port;
            return Errno::restart;
        }
    }
    port = 1;
    return {};
}

} // namespace cero::event

cero::Status cero::event_channel_op(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    if (command == CERO_EVTCHNOP_send) return event::with(event::send, current, argument);
    if (command == CERO_EVTCHNOP_unmask) return event::with(event::unmask_op, current, argument);
    return event::set_up(current, command, argument);
}
