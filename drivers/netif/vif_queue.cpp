// SPDX-License-Identifier: BSD-2-Clause
// The two directions of a pair of rings.
#include "vif.hpp"

#include <cero/abi/types.h>
#include <cero/lib/format.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

namespace drivers::netif {

namespace {

constexpr std::size_t page_size = kernel::page_size;
constexpr unsigned copies_per_packet = 2 * (max_slots + 2);
/// A full ring; then other ports have their turn, and the kernel may let threads run.
constexpr unsigned slots_per_event = 256;
constexpr unsigned queue_limit = 1024;      ///< pages of packets waiting for a queue's buffers
constexpr unsigned queue_guaranteed = 64;   ///< of these in any case; the rest out of
constexpr unsigned all_queues_limit = 8192; ///< pages of packets waiting for all guests

/// Pages of packets that wait for guests.
constinit unsigned all_queued = 0;

kernel::grant::CopySide own_side(const void* address) noexcept {
    return {CERO_DOMID_SELF, false, 0, kernel::virt_to_mfn(address),
            static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(address) % page_size)};
}

} // namespace

Status VifQueue::connect(const QueueOffer& offer) {
    TRY(tx_pages_.map(domain_, &offer.tx_ref, 1));
    TRY(rx_pages_.map(domain_, &offer.rx_ref, 1));
    tx_ring_.attach(tx_pages_.data(), tx_pages_.bytes());
    rx_ring_.attach(rx_pages_.data(), rx_pages_.bytes());
    port_tx_ = TRY(kernel::event::bind_interdomain(domain_, offer.tx_port));
    if (offer.rx_port != 0)
        port_rx_ = TRY(kernel::event::bind_interdomain(domain_, offer.rx_port));
    const kernel::EventGuard masked; // ignore() masks ports whose handlers are set
    serving_ = true;
    kernel::event::set_guest_handler(port_tx_, tx_event, this);
    if (port_rx_ != 0)
        kernel::event::set_guest_handler(port_rx_, rx_event, this);
    return {};
}

void VifQueue::kick() noexcept {
    kernel::EventGuard masked;
    if (serving_)
        kernel::event::raise(port_tx_);
}

void VifQueue::ignore() noexcept {
    serving_ = false;
    for (const kernel::event::Port port : {port_tx_, port_rx_})
        if (port != 0)
            kernel::event::mask(port);
}

void VifQueue::disconnect() noexcept {
    serving_ = false;
    for (kernel::event::Port* port : {&port_tx_, &port_rx_}) {
        if (*port != 0)
            kernel::event::close(*port);
        *port = 0;
    }
    while (PacketBuffer* packet = queue_.pop_front())
        packet->release();
    all_queued -= queued_;
    queued_ = 0;
    tx_pages_.unmap();
    rx_pages_.unmap();
}

void VifQueue::transmit(PacketList& packets) noexcept {
    kernel::SpinGuard guard{rx_lock_};
    while (PacketBuffer* packet = packets.pop_front()) {
        if (!serving_ || !may_queue()) {
            ++owner_.counters().tx_dropped;
            packet->release();
            continue;
        }
        queue_.push_back(*packet);
        queued_ += packet->pages();
        all_queued += packet->pages();
    }
    send_queued();
}

void VifQueue::tx_event(kernel::event::Port, void* self) {
    auto& queue = *static_cast<VifQueue*>(self);
    queue.receive_from_guest();
    if (queue.port_rx_ == 0)
        queue.buffers_posted();
}

void VifQueue::rx_event(kernel::event::Port, void* self) {
    static_cast<VifQueue*>(self)->buffers_posted();
}

void VifQueue::receive_from_guest() noexcept {
    if (!serving_ || in_receive_)
        return;
    in_receive_ = true;
    PacketList packets;
    unsigned budget = slots_per_event;
    do {
        while (budget != 0 && tx_ring_.pending() != 0 && serving_)
            budget -= receive_batch(budget, packets);
    } while (budget != 0 && serving_ && !tx_ring_.is_broken() && tx_ring_.arm());
    in_receive_ = false;
    if (tx_ring_.is_broken())
        owner_.give_up("impossible ring index");
    else if (budget == 0 && serving_)
        kernel::event::raise(port_tx_);
    owner_.take(packets);
}

unsigned VifQueue::receive_batch(unsigned budget, PacketList& packets) noexcept {
    copy_count_ = answer_count_ = incoming_count_ = 0;
    unsigned used = 0;
    while (used < budget && incoming_count_ < packet_room &&
           copy_count_ + copies_per_packet <= copy_room &&
           answer_count_ + fatal_slots + max_extras <= answer_room) {
        std::uint32_t pending = tx_ring_.pending();
        if (pending == 0)
            break;
        slots_.restart();
        PacketSlots::State state = PacketSlots::State::more;
        while (state == PacketSlots::State::more && pending-- != 0) {
            cero_netif_tx_entry entry;
            tx_ring_.take(entry);
            state = slots_.add(entry);
            ++used;
        }
        if (state == PacketSlots::State::more || state == PacketSlots::State::fatal) {
            owner_.give_up(state == PacketSlots::State::fatal ? "too many slots"
                                                              : "incomplete packet");
            break;
        }
        prepare(state == PacketSlots::State::good);
    }
    const bool copied = copy_count_ == 0 || kernel::grant::copy(copies_, copy_count_).has_value();
    for (unsigned i = 0; i < incoming_count_; ++i)
        finish_incoming(incoming_[i], copied, packets);
    if (serving_ && tx_ring_.push())
        kernel::event::notify(port_tx_);
    return used < budget ? used : budget;
}

void VifQueue::prepare(bool good) noexcept {
    Incoming& incoming = incoming_[incoming_count_++];
    incoming = {nullptr,
                static_cast<std::uint16_t>(copy_count_),
                0,
                static_cast<std::uint16_t>(answer_count_),
                static_cast<std::uint16_t>(slots_.answer_count()),
                slots_.flags()};
    for (unsigned i = 0; i < slots_.answer_count(); ++i)
        answers_[answer_count_++] = {slots_.answer(i).id, slots_.answer(i).is_extra};
    PacketBuffer* packet = good ? PacketBuffer::allocate() : nullptr;
    if (packet == nullptr)
        return;
    const std::size_t room = PacketBuffer::inline_size - PacketBuffer::default_headroom;
    packet->set_inline(PacketBuffer::default_headroom, slots_.size() < room ? slots_.size() : room);
    std::byte* to = packet->fragments[0].data;
    std::size_t here = packet->fragments[0].length;
    std::size_t left = slots_.size() - here;
    for (unsigned i = 0; i < slots_.slot_count(); ++i) {
        std::size_t offset = slots_.slot(i).offset;
        std::size_t size = slots_.slot(i).size;
        while (size != 0) {
            if (here == 0) {
                here = left < page_size ? left : page_size;
                left -= here;
                to = packet->append_page(here);
                if (to == nullptr) {
                    copy_count_ = incoming.first_copy;
                    packet->release();
                    return;
                }
            }
            const std::size_t count = size < here ? size : here;
            CopyRequest& copy = copies_[copy_count_++];
            copy.source = {
                domain_, true, slots_.slot(i).gref, {}, static_cast<std::uint16_t>(offset)};
            copy.target = own_side(to);
            copy.length = static_cast<std::uint16_t>(count);
            copy.status = -1;
            to += count;
            here -= count;
            offset += count;
            size -= count;
        }
    }
    packet->gso = slots_.gso();
    packet->gso_size = slots_.gso_size();
    incoming.copy_count = static_cast<std::uint16_t>(copy_count_ - incoming.first_copy);
    incoming.buffer = packet;
}

void VifQueue::finish_incoming(const Incoming& incoming, bool copied,
                               PacketList& packets) noexcept {
    PacketBuffer* packet = incoming.buffer;
    bool good = copied && packet != nullptr;
    for (unsigned i = 0; good && i < incoming.copy_count; ++i)
        good = copies_[incoming.first_copy + i].status == 0;
    for (unsigned i = 0; i < incoming.answer_count; ++i) {
        const Answer& answer = answers_[incoming.first_answer + i];
        const int status = answer.is_extra ? CERO_NETIF_RSP_NULL
                           : good          ? CERO_NETIF_RSP_OKAY
                                           : CERO_NETIF_RSP_ERROR;
        tx_ring_.put(cero_netif_tx_response{answer.id, static_cast<std::int16_t>(status)});
    }
    if (good && (incoming.flags & CERO_NETTXF_csum_blank) != 0)
        good = locate_checksum(*packet);
    else if (good && (incoming.flags & CERO_NETTXF_data_validated) != 0)
        packet->checksum = Checksum::verified;
    if (good && packet->gso != Gso::none && packet->checksum != Checksum::partial)
        good = false;
    if (!good) {
        ++owner_.counters().rx_dropped;
        if (packet != nullptr)
            packet->release();
        return;
    }
    ++owner_.counters().rx_packets;
    owner_.counters().rx_bytes += packet->length();
    packets.push_back(*packet);
}

void VifQueue::buffers_posted() noexcept {
    kernel::SpinGuard guard{rx_lock_};
    send_queued();
}

unsigned VifQueue::slots_needed(const PacketBuffer& packet) noexcept {
    return static_cast<unsigned>((packet.length() + page_size - 1) / page_size) +
           (packet.gso != Gso::none ? 1 : 0);
}

void VifQueue::send_queued() noexcept {
    while (serving_ && !queue_.empty()) {
        out_copy_count_ = out_slot_count_ = outgoing_count_ = 0;
        bool starved = false;
        while (PacketBuffer* packet = queue_.front()) {
            const unsigned slots = slots_needed(*packet);
            const unsigned copies = slots + packet->fragment_count;
            if (slots > out_slot_room || copies > copy_room) {
                drop_front(); // cannot be: the switch adapts packets to features()
                continue;
            }
            if (outgoing_count_ == packet_room || out_slot_count_ + slots > out_slot_room ||
                out_copy_count_ + copies > copy_room)
                break;
            if (rx_ring_.pending() < slots &&
                !(rx_ring_.arm(slots) && rx_ring_.pending() >= slots)) {
                starved = true;
                break;
            }
            queue_.pop_front();
            note_dequeued(*packet);
            batch_.push_back(*packet);
            place(*packet);
        }
        finish_outgoing();
        if (rx_ring_.is_broken())
            return owner_.give_up("impossible ring index");
        if (starved)
            return;
    }
}

bool VifQueue::may_queue() const noexcept {
    return queued_ < queue_guaranteed || (queued_ < queue_limit && all_queued < all_queues_limit);
}

void VifQueue::note_dequeued(const PacketBuffer& packet) noexcept {
    queued_ -= packet.pages();
    all_queued -= packet.pages();
}

void VifQueue::drop_front() noexcept {
    PacketBuffer* packet = queue_.pop_front();
    note_dequeued(*packet);
    packet->release();
    ++owner_.counters().tx_dropped;
}

void VifQueue::place(const PacketBuffer& packet) noexcept {
    Outgoing& outgoing = outgoing_[outgoing_count_++];
    outgoing.first_copy = static_cast<std::uint16_t>(out_copy_count_);
    outgoing.first_slot = static_cast<std::uint16_t>(out_slot_count_);
    std::uint16_t flags = 0;
    if (packet.checksum == Checksum::partial)
        flags = CERO_NETRXF_csum_blank | CERO_NETRXF_data_validated;
    else if (packet.checksum == Checksum::verified)
        flags = CERO_NETRXF_data_validated;
    unsigned fragment = 0;
    std::size_t offset = 0;
    std::size_t left = packet.length();
    bool first = true;
    while (left != 0) {
        cero_netif_rx_request request;
        rx_ring_.take(request);
        const std::size_t size = left < page_size ? left : page_size;
        for (std::size_t filled = 0; filled < size;) {
            const PacketFragment& from = packet.fragments[fragment];
            const std::size_t there = from.length - offset;
            const std::size_t count = there < size - filled ? there : size - filled;
            if (count != 0) {
                CopyRequest& copy = out_copies_[out_copy_count_++];
                copy.source = own_side(from.data + offset);
                copy.target = {domain_, true, request.gref, {}, static_cast<std::uint16_t>(filled)};
                copy.length = static_cast<std::uint16_t>(count);
                copy.status = -1;
            }
            filled += count;
            offset += count;
            if (offset == from.length) {
                ++fragment;
                offset = 0;
            }
        }
        left -= size;
        std::uint16_t slot_flags = first ? flags : std::uint16_t{0};
        if (left != 0)
            slot_flags |= CERO_NETRXF_more_data;
        if (first && packet.gso != Gso::none)
            slot_flags |= CERO_NETRXF_extra_info;
        out_slots_[out_slot_count_++] = {
            request.id, slot_flags, static_cast<std::uint16_t>(size), false, {}};
        if (first && packet.gso != Gso::none)
            place_gso(packet);
        first = false;
    }
    outgoing.copy_count = static_cast<std::uint16_t>(out_copy_count_ - outgoing.first_copy);
    outgoing.slot_count = static_cast<std::uint16_t>(out_slot_count_ - outgoing.first_slot);
}

void VifQueue::place_gso(const PacketBuffer& packet) noexcept {
    cero_netif_rx_request
        request; // its buffer stays unused: an extra occupies the slot of a request
    rx_ring_.take(request);
    OutSlot& slot = out_slots_[out_slot_count_++];
    slot = {request.id, 0, 0, true, {}};
    slot.extra.type = CERO_NETIF_EXTRA_TYPE_GSO;
    slot.extra.u.gso.size = packet.gso_size;
    slot.extra.u.gso.type =
        packet.gso == Gso::tcp4 ? CERO_NETIF_GSO_TYPE_TCPV4 : CERO_NETIF_GSO_TYPE_TCPV6;
}

void VifQueue::finish_outgoing() noexcept {
    const bool copied =
        out_copy_count_ == 0 || kernel::grant::copy(out_copies_, out_copy_count_).has_value();
    for (unsigned i = 0; i < outgoing_count_; ++i) {
        const Outgoing& outgoing = outgoing_[i];
        bool good = copied;
        for (unsigned copy = 0; good && copy < outgoing.copy_count; ++copy)
            good = out_copies_[outgoing.first_copy + copy].status == 0;
        for (unsigned index = 0; index < outgoing.slot_count; ++index) {
            const OutSlot& slot = out_slots_[outgoing.first_slot + index];
            if (slot.is_extra && good)
                rx_ring_.put(slot.extra);
            else
                rx_ring_.put(cero_netif_rx_response{
                    slot.id, 0, good ? slot.flags : std::uint16_t{0},
                    static_cast<std::int16_t>(good ? slot.size : CERO_NETIF_RSP_ERROR)});
        }
        PacketBuffer* packet = batch_.pop_front();
        if (good) {
            ++owner_.counters().tx_packets;
            owner_.counters().tx_bytes += packet->length();
        } else {
            ++owner_.counters().tx_dropped;
        }
        packet->release();
    }
    if (outgoing_count_ != 0 && rx_ring_.push())
        kernel::event::notify(port_rx_ != 0 ? port_rx_ : port_tx_);
    outgoing_count_ = 0;
}

} // namespace drivers::netif
