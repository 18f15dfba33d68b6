// SPDX-License-Identifier: BSD-2-Clause
// Both directions of a guest's network device.
#include "interface.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>

namespace drivers::netif {

namespace {

constexpr std::size_t page_size = kernel::page_size;

} // namespace

Interface::Interface(const char* name, kernel::DomainId backend, const MacAddress& mac) noexcept
    : backend_{backend} {
    set_name(name);
    mac_ = mac;
    for (unsigned i = 0; i < tx_slots; ++i)
        tx_[i].next_free = static_cast<std::uint16_t>(i + 1);
}

Status Interface::open_channel() {
    TRY(share_ring(tx_page_, tx_ref_));
    TRY(share_ring(rx_page_, rx_ref_));
    tx_ring_.initialise(tx_page_, page_size);
    rx_ring_.initialise(rx_page_, page_size);
    for (unsigned i = 0; i < rx_slots; ++i) {
        rx_[i].page = static_cast<std::byte*>(kernel::alloc_pages(0));
        if (rx_[i].page == nullptr)
            return Errno::nomem;
        rx_[i].ref = TRY(kernel::grant::offer(backend_, kernel::virt_to_mfn(rx_[i].page), false));
        posted_[i] = static_cast<std::uint8_t>(i);
        rx_ring_.put(cero_netif_rx_request{static_cast<std::uint16_t>(i), 0, rx_[i].ref});
    }
    static_cast<void>(rx_ring_.push());
    port_ = TRY(kernel::event::alloc_unbound(backend_));
    kernel::event::set_handler(
        port_,
        [](kernel::event::Port, void* self) { static_cast<Interface*>(self)->handle_event(); },
        this);
    return {};
}

void Interface::go_live() noexcept {
    live_ = true;
    set_link(true);
    handle_event();
}

void Interface::close_channel() noexcept {
    live_ = false;
    link_up_ = false;
    if (port_ != 0)
        kernel::event::close(port_);
    port_ = 0;
    waiting_.clear();
    for (TxSlot& slot : tx_)
        if (slot.packet != nullptr) {
            // The backend may still read the page: the packet's memory goes with the grant. A
            // frame that cannot be withdrawn keeps its page for ever rather than expose what
            // comes next on it.
            const bool back = kernel::grant::withdraw(slot.ref).has_value();
            if (!back)
                kernel::grant::withdraw_deferred(slot.ref, nullptr);
            finish_slot(slot, back);
        }
    for (RxSlot& slot : rx_) {
        give_back(slot.ref, slot.page);
        slot = {};
    }
    give_back(tx_ref_, tx_page_);
    give_back(rx_ref_, rx_page_);
    tx_ref_ = rx_ref_ = invalid_ref;
    tx_page_ = rx_page_ = nullptr;
}

void Interface::transmit(PacketList& packets) noexcept {
    kernel::SpinGuard guard{lock_};
    while (PacketBuffer* packet = packets.pop_front()) {
        if (live_ && can_ever_send(*packet) && waiting_.push(*packet))
            continue;
        ++statistics_.tx_dropped;
        packet->release();
    }
    reap_transmitted();
    send_waiting();
    if (!waiting_.empty())
        reap_and_send(); // and ask for an event when there is room again
}

Status Interface::share_ring(void*& page, Ref& ref) {
    page = kernel::alloc_zeroed_page();
    if (page == nullptr)
        return Errno::nomem;
    ref = TRY(kernel::grant::offer(backend_, kernel::virt_to_mfn(page), false));
    return {};
}

void Interface::give_back(Ref ref, void* page) noexcept {
    if (ref != invalid_ref)
        kernel::grant::withdraw_deferred(ref, page);
    else if (page != nullptr)
        kernel::free_pages(page, 0);
}

void Interface::finish_slot(TxSlot& slot, bool release_page) noexcept {
    PacketBuffer* packet = slot.packet;
    slot.packet = nullptr;
    slot.ref = invalid_ref;
    auto left = reinterpret_cast<std::uintptr_t>(packet->owner_data) - 1;
    packet->owner_data = reinterpret_cast<void*>(left);
    if (left == 0 && release_page)
        packet->release();
    slot.next_free = static_cast<std::uint16_t>(first_free_);
    first_free_ = static_cast<unsigned>(&slot - tx_);
    ++free_count_;
}

bool Interface::can_ever_send(const PacketBuffer& packet) noexcept {
    return packet.fragment_count != 0 && packet.fragment_count <= CERO_NETIF_NR_SLOTS_MIN;
}

void Interface::send_waiting() noexcept {
    while (live_ && !waiting_.empty()) {
        PacketBuffer& packet = *waiting_.front();
        const std::size_t size = packet.length();
        if (!send(packet))
            break;
        ++statistics_.tx_packets;
        statistics_.tx_bytes += size;
    }
    if (live_ && tx_ring_.push())
        kernel::event::notify(port_);
}

void Interface::reap_and_send() noexcept {
    do {
        reap_transmitted();
        send_waiting();
    } while (live_ && tx_ring_.unanswered() != 0 && tx_ring_.arm((tx_ring_.unanswered() + 1) / 2));
}

bool Interface::send(PacketBuffer& packet) noexcept {
    const unsigned slots = packet.fragment_count;
    const bool gso = packet.gso != Gso::none;
    if (slots > free_count_ || tx_ring_.free_slots() < slots + (gso ? 1 : 0))
        return false;
    TxSlot* taken[CERO_NETIF_NR_SLOTS_MIN];
    for (unsigned i = 0; i < slots; ++i) {
        auto ref =
            kernel::grant::offer(backend_, kernel::virt_to_mfn(packet.fragments[i].data), true);
        if (!ref) {
            while (i-- != 0) {
                static_cast<void>(kernel::grant::withdraw(taken[i]->ref));
                return_slot(*taken[i]);
            }
            return false;
        }
        taken[i] = &tx_[first_free_];
        first_free_ = taken[i]->next_free;
        --free_count_;
        taken[i]->ref = *ref;
    }
    waiting_.pop();
    const std::size_t total = packet.length();
    for (unsigned i = 0; i < slots; ++i) {
        const PacketFragment& fragment = packet.fragments[i];
        unsigned flags = i + 1 < slots ? CERO_NETTXF_more_data : 0;
        if (i == 0 && packet.checksum == Checksum::partial)
            flags |= CERO_NETTXF_csum_blank | CERO_NETTXF_data_validated;
        if (i == 0 && packet.checksum == Checksum::verified)
            flags |= CERO_NETTXF_data_validated;
        if (i == 0 && gso)
            flags |= CERO_NETTXF_extra_info;
        taken[i]->packet = &packet;
        tx_ring_.put(cero_netif_tx_request{
            taken[i]->ref,
            static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(fragment.data) % page_size),
            static_cast<std::uint16_t>(flags), static_cast<std::uint16_t>(taken[i] - tx_),
            static_cast<std::uint16_t>(i == 0 ? total : fragment.length)});
        if (i == 0 && gso) {
            cero_netif_extra_info extra{};
            extra.type = CERO_NETIF_EXTRA_TYPE_GSO;
            extra.u.gso.size = packet.gso_size;
            extra.u.gso.type =
                packet.gso == Gso::tcp4 ? CERO_NETIF_GSO_TYPE_TCPV4 : CERO_NETIF_GSO_TYPE_TCPV6;
            tx_ring_.put(extra);
        }
    }
    packet.owner_data = reinterpret_cast<void*>(std::uintptr_t{slots});
    return true;
}

void Interface::return_slot(TxSlot& slot) noexcept {
    slot.ref = invalid_ref;
    slot.next_free = static_cast<std::uint16_t>(first_free_);
    first_free_ = static_cast<unsigned>(&slot - tx_);
    ++free_count_;
}

void Interface::reap_transmitted() noexcept {
    cero_netif_tx_response response;
    while (live_ && tx_ring_.take(response)) {
        if (response.status == CERO_NETIF_RSP_NULL)
            continue;
        if (response.id >= tx_slots || tx_[response.id].packet == nullptr)
            return disable("response to no request");
        TxSlot& slot = tx_[response.id];
        const bool back = kernel::grant::withdraw(slot.ref).has_value();
        if (!back) {
            kernel::grant::withdraw_deferred(slot.ref, nullptr);
            disable("the backend keeps a page");
        }
        finish_slot(slot, back);
    }
    if (tx_ring_.is_broken())
        disable("impossible ring index");
}

void Interface::handle_event() noexcept {
    PacketList packets;
    {
        kernel::SpinGuard guard{lock_};
        if (!live_)
            return;
        reap_and_send();
        do
            receive(packets);
        while (live_ && rx_ring_.arm());
        if (rx_ring_.is_broken())
            disable("impossible ring index");
        if (live_ && rx_ring_.push())
            kernel::event::notify(port_);
    }
    deliver(packets);
}

void Interface::receive(PacketList& packets) noexcept {
    for (;;) {
        // Responses come in the order of the requests; an extra occupies the slot of one.
        const unsigned index = rx_ring_.response_index() % CERO_NETIF_RING_ENTRIES;
        union {
            cero_netif_rx_response response;
            cero_netif_extra_info extra;
        } entry;
        if (!rx_ring_.take(entry))
            return;
        const unsigned buffer = posted_[index];
        if (expect_extra_) {
            accept_extra(entry.extra);
        } else {
            accept(entry.response, rx_[buffer].page);
        }
        repost(buffer);
        if (!expect_extra_ && !more_data_)
            finish_packet(packets);
    }
}

void Interface::accept(const cero_netif_rx_response& response, const std::byte* page) noexcept {
    const bool first = !more_data_;
    more_data_ = (response.flags & CERO_NETRXF_more_data) != 0;
    expect_extra_ = first && (response.flags & CERO_NETRXF_extra_info) != 0;
    if (first) {
        assembling_ = PacketBuffer::allocate();
        spoilt_ = assembling_ == nullptr;
        if (!spoilt_ && (response.flags & CERO_NETRXF_data_validated) != 0)
            assembling_->checksum = Checksum::verified;
        if (!spoilt_ && (response.flags & CERO_NETRXF_csum_blank) != 0)
            assembling_->checksum = Checksum::partial;
    }
    const std::size_t size = response.status > 0 ? static_cast<std::size_t>(response.status) : 0;
    if (size == 0 || response.offset + size > page_size)
        spoilt_ = true;
    if (!spoilt_ && !assembling_->append(page + response.offset, size))
        spoilt_ = true;
}

void Interface::accept_extra(const cero_netif_extra_info& extra) noexcept {
    expect_extra_ = (extra.flags & CERO_NETIF_EXTRA_FLAG_MORE) != 0;
    if (extra.type != CERO_NETIF_EXTRA_TYPE_GSO || spoilt_)
        return;
    assembling_->gso = extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV4   ? Gso::tcp4
                       : extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV6 ? Gso::tcp6
                                                                       : Gso::none;
    assembling_->gso_size = extra.u.gso.size;
}

void Interface::finish_packet(PacketList& packets) noexcept {
    PacketBuffer* packet = assembling_;
    assembling_ = nullptr;
    if (!spoilt_ && packet->checksum == Checksum::partial)
        spoilt_ = !locate_checksum(*packet);
    if (spoilt_) {
        ++statistics_.rx_dropped;
        if (packet != nullptr)
            packet->release();
        return;
    }
    ++statistics_.rx_packets;
    statistics_.rx_bytes += packet->length();
    packets.push_back(*packet);
}

void Interface::repost(unsigned buffer) noexcept {
    posted_[rx_ring_.next_index() % CERO_NETIF_RING_ENTRIES] = static_cast<std::uint8_t>(buffer);
    rx_ring_.put(cero_netif_rx_request{static_cast<std::uint16_t>(buffer), 0, rx_[buffer].ref});
}

void Interface::disable(const char* why) noexcept {
    if (live_)
        kernel::printk(kernel::Level::error, "%s: %s; interface disabled\n", name(), why);
    live_ = false;
}

} // namespace drivers::netif
