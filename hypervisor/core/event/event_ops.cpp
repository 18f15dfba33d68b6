// SPDX-License-Identifier: BSD-2-Clause
// event_channel_op: making, connecting, moving and closing event channels.
#include <core/event/event_internal.hpp>

#include <core/domain/pirq.hpp>
#include <core/frame/frame_table.hpp>
#include <core/hypercall/handlers.hpp>

namespace cero::event {
namespace {

/// Connecting and closing interdomain channels: while it is held no channel enters or leaves the
/// interdomain state, so `remote` pointers stay valid without the peer's lock.
Spinlock<LockRank::binding> binding_lock;

class PairGuard {
public:
    PairGuard(Domain& a, Domain& b) noexcept : first_{a.slot <= b.slot ? a : b}, second_{a.slot <= b.slot ? b : a} {
        first_.events.lock.lock();
        if (&first_ != &second_) second_.events.lock.lock();
    }
    ~PairGuard() {
        if (&first_ != &second_) second_.events.lock.unlock();
        first_.events.lock.unlock();
    }
    PairGuard(const PairGuard&) = delete;
    PairGuard& operator=(const PairGuard&) = delete;

private:
    Domain& first_;
    Domain& second_;
};

/// A free port with memory behind it. Table lock held. The channel stays closed until the caller
/// sets its state.
Result<std::uint32_t> free_port(Domain& domain) {
    if (domain.is_dying()) return Errno::srch;
    EventTable& table = domain.events;
    for (std::uint32_t port = table.search_from; port < table.limit; ++port) {
        EventChannel*& page = table.pages[port / channels_per_page];
        if (page == nullptr) {
            const MachineFrame frame = TRY(allocate_hypervisor_frame());
            auto* channels = arch::frame_ptr<EventChannel>(frame);
            for (unsigned n = 0; n < channels_per_page; ++n) ::new (&channels[n]) EventChannel;
            page = channels;
        }
        if (page[port % channels_per_page].state == ChannelState::closed) {
            table.search_from = port;
            return port;
        }
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
    channel.remote_id = 0;
    channel.state = state;
    ++table.in_use;
    table.search_from = port + 1;
    return channel;
}

void set_closed(Domain& domain, std::uint32_t port, EventChannel& channel) {
    channel.state = ChannelState::closed;
    channel.vcpu = 0;
    channel.number = 0;
    channel.remote_id = 0;
    clear_pending(domain, port);
    --domain.events.in_use;
    if (port < domain.events.search_from) domain.events.search_from = port;
}

/// The domain that an operation is about: the caller, or any other one for the control domain.
Result<Domain*> subject(Vcpu& current, cero_domid id, DomainRef& ref) {
    if (id == CERO_DOMID_SELF || DomainId{id} == current.domain->id) return current.domain;
    if (!current.domain->is_control) return Errno::perm;
    ref = find_domain(DomainId{id});
    if (!ref) return Errno::srch;
    return ref.get();
}

Status alloc_unbound(Vcpu& current, GuestPtr<cero_evtchn_alloc_unbound> argument) {
    cero_evtchn_alloc_unbound op = TRY(argument.read());
    DomainRef ref;
    Domain& domain = *TRY(subject(current, op.dom, ref));
    const DomainId remote = op.remote_dom == CERO_DOMID_SELF ? current.domain->id : DomainId{op.remote_dom};
    LockGuard guard{domain.events.lock};
    op.port = TRY(free_port(domain));
    TRY(argument.write(op)); // before the port is open: nothing to undo
    open(domain, op.port, ChannelState::unbound, 0, 0).remote_id = remote.raw();
    return {};
}

Status bind_interdomain(Vcpu& current, GuestPtr<cero_evtchn_bind_interdomain> argument) {
    cero_evtchn_bind_interdomain op = TRY(argument.read());
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

Status bind_virq(Vcpu& current, GuestPtr<cero_evtchn_bind_virq> argument) {
    cero_evtchn_bind_virq op = TRY(argument.read());
    Domain& domain = *current.domain;
    if (op.virq >= CERO_NR_VIRQS) return Errno::inval;
    const int index = vcpu_virq_index(op.virq);
    if (index < 0 && op.vcpu != 0) return Errno::inval;
    Vcpu* vcpu = domain.vcpu(op.vcpu);
    if (vcpu == nullptr) return Errno::noent;
    std::uint16_t& bound = index < 0 ? domain.global_virq_port[op.virq] : vcpu->virq_port[index];
    LockGuard guard{domain.events.lock};
    if (bound != 0) return Errno::exist;
    op.port = TRY(free_port(domain));
    TRY(argument.write(op));
    open(domain, op.port, ChannelState::virq, op.vcpu, op.virq);
    __atomic_store_n(&bound, static_cast<std::uint16_t>(op.port), __ATOMIC_RELEASE);
    return {};
}

Status bind_ipi(Vcpu& current, GuestPtr<cero_evtchn_bind_ipi> argument) {
    cero_evtchn_bind_ipi op = TRY(argument.read());
    Domain& domain = *current.domain;
    if (domain.vcpu(op.vcpu) == nullptr) return Errno::noent;
    LockGuard guard{domain.events.lock};
    op.port = TRY(free_port(domain));
    TRY(argument.write(op));
    open(domain, op.port, ChannelState::ipi, op.vcpu, 0);
    return {};
}

Status bind_pirq(Vcpu& current, GuestPtr<cero_evtchn_bind_pirq> argument) {
    cero_evtchn_bind_pirq op = TRY(argument.read());
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

/// Takes what the channel is bound to off it. Table lock held.
void unbind_virq(Domain& domain, const EventChannel& channel) {
    const int index = vcpu_virq_index(channel.number);
    std::uint16_t& bound =
        index < 0 ? domain.global_virq_port[channel.number] : domain.vcpus[channel.vcpu]->virq_port[index];
    __atomic_store_n(&bound, std::uint16_t{0}, __ATOMIC_RELEASE);
}

/// Binding lock held.
void close_interdomain(Domain& domain, std::uint32_t port, EventChannel& channel) {
    Domain& remote = *channel.remote;
    PairGuard guard{domain, remote};
    EventChannel& peer = *remote.events.find(EventPort{channel.number});
    if (&peer != &channel) {
        peer.state = ChannelState::unbound;
        peer.number = 0;
        peer.remote_id = domain.id.raw();
    }
    set_closed(domain, port, channel);
}

Status close(Vcpu& current, GuestPtr<cero_evtchn_close> argument) {
    const cero_evtchn_close op = TRY(argument.read());
    const EventChannel* channel = current.domain->events.find(EventPort{op.port});
    if (channel == nullptr || channel->state == ChannelState::closed) return Errno::inval;
    close_port(*current.domain, op.port);
    return {};
}

Status send(Vcpu& current, GuestPtr<cero_evtchn_send> argument) {
    const cero_evtchn_send op = TRY(argument.read());
    Domain& domain = *current.domain;
    LockGuard guard{domain.events.lock};
    const EventChannel* channel = domain.events.find(EventPort{op.port});
    if (channel == nullptr) return Errno::inval;
    switch (channel->state) {
    case ChannelState::interdomain: raise_port(*channel->remote, channel->number); return {};
    case ChannelState::ipi:
        if (Vcpu* vcpu = domain.vcpu(channel->vcpu); vcpu != nullptr) signal(domain, op.port, *vcpu);
        return {};
    case ChannelState::unbound: return {}; // the peer is not there yet: as if it had missed it
    default: return Errno::inval;
    }
}

Status status(Vcpu& current, GuestPtr<cero_evtchn_status> argument) {
    cero_evtchn_status op = TRY(argument.read());
    DomainRef ref;
    Domain& domain = *TRY(subject(current, op.dom, ref));
    if (op.port == 0 || op.port >= domain.events.limit) return Errno::inval;
    {
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
    }
    return argument.write(op);
}

Status bind_vcpu(Vcpu& current, GuestPtr<cero_evtchn_bind_vcpu> argument) {
    const cero_evtchn_bind_vcpu op = TRY(argument.read());
    Domain& domain = *current.domain;
    if (domain.vcpu(op.vcpu) == nullptr) return Errno::noent;
    LockGuard guard{domain.events.lock};
    EventChannel* channel = domain.events.find(EventPort{op.port});
    if (channel == nullptr) return Errno::inval;
    const bool movable = channel->state == ChannelState::unbound || channel->state == ChannelState::interdomain ||
                         channel->state == ChannelState::pirq ||
                         (channel->state == ChannelState::virq && vcpu_virq_index(channel->number) < 0);
    if (!movable) return Errno::inval;
    __atomic_store_n(&channel->vcpu, static_cast<std::uint16_t>(op.vcpu), __ATOMIC_RELAXED);
    return {};
}

Status unmask_op(Vcpu& current, GuestPtr<cero_evtchn_unmask> argument) {
    const cero_evtchn_unmask op = TRY(argument.read());
    Domain& domain = *current.domain;
    const EventChannel* channel = domain.events.find(EventPort{op.port});
    if (channel == nullptr) return Errno::inval;
    Vcpu* vcpu = domain.vcpu(__atomic_load_n(&channel->vcpu, __ATOMIC_RELAXED));
    if (vcpu != nullptr) unmask(domain, op.port, *vcpu);
    return {};
}

Status reset(Vcpu& current, GuestPtr<cero_evtchn_reset> argument) {
    const cero_evtchn_reset op = TRY(argument.read());
    DomainRef ref;
    Domain& domain = *TRY(subject(current, op.dom, ref));
    return close_all(domain);
}

} // namespace

void close_port(Domain& domain, std::uint32_t port) {
    LockGuard binding{binding_lock};
    EventChannel* channel = domain.events.find(EventPort{port});
    if (channel == nullptr) return;
    if (channel->state == ChannelState::interdomain) {
        close_interdomain(domain, port, *channel);
        return;
    }
    LockGuard guard{domain.events.lock};
    if (channel->state == ChannelState::closed) return;
    if (channel->state == ChannelState::virq)
        unbind_virq(domain, *channel);
    else if (channel->state == ChannelState::pirq)
        pirq::unbind(domain, Pirq{channel->number});
    set_closed(domain, port, *channel);
}

Status close_all(Domain& domain) {
    std::uint32_t& port = domain.events.close_from;
    for (; port < domain.events.limit; ++port) {
        if (domain.events.find(EventPort{port}) == nullptr) {
            port |= channels_per_page - 1; // no memory: the whole page is closed
            continue;
        }
        close_port(domain, port);
        if (port % 64 == 63 && arch::preemption_point()) {
            ++port;
            return Errno::restart;
        }
    }
    port = 1;
    return {};
}

} // namespace cero::event

namespace cero {

namespace {

/// Calls an operation with its argument, of the type that it takes.
template <typename Argument>
Status with(Status (*operation)(Vcpu&, GuestPtr<Argument>), Vcpu& current, std::uint64_t argument) {
    return operation(current, GuestPtr<Argument>{argument});
}

/// Everything but the two operations that guests use all the time.
[[gnu::noinline]] Status set_up(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    using namespace event;
    switch (command) {
    case CERO_EVTCHNOP_bind_interdomain: return with(bind_interdomain, current, argument);
    case CERO_EVTCHNOP_bind_virq: return with(bind_virq, current, argument);
    case CERO_EVTCHNOP_bind_pirq: return with(bind_pirq, current, argument);
    case CERO_EVTCHNOP_bind_ipi: return with(bind_ipi, current, argument);
    case CERO_EVTCHNOP_bind_vcpu: return with(bind_vcpu, current, argument);
    case CERO_EVTCHNOP_close: return with(event::close, current, argument);
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

Status event_channel_op(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    if (command == CERO_EVTCHNOP_send) return event::send(current, GuestPtr<cero_evtchn_send>{argument});
    if (command == CERO_EVTCHNOP_unmask) return event::unmask_op(current, GuestPtr<cero_evtchn_unmask>{argument});
    return set_up(current, command, argument);
}

} // namespace cero
