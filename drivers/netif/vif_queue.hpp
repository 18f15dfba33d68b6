// SPDX-License-Identifier: BSD-2-Clause
// VifQueue: one pair of rings of a guest's network interface.
//
// Guest to switch: slots are collected into packets, the pages of many packets are copied by one
// hypercall, the slots are answered, and the packets go to the switch as one list. Switch to guest:
// the packets of a list are copied into the buffers that the guest posted, by one hypercall and
// with one event. When the guest posts too few, a bounded queue fills and then packets are dropped:
// nobody ever waits for a guest.
#pragma once

#include "../ring/grant_pages.hpp"
#include "../ring/ring.hpp"
#include "packet_slots.hpp"

#include <cero/driver/net.hpp>
#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/sync.hpp>

namespace drivers::netif {

class Vif;

/// What a guest offers for one pair of rings.
struct QueueOffer {
    kernel::grant::Ref tx_ref, rx_ref;
    kernel::event::Port tx_port;
    kernel::event::Port rx_port; ///< 0: one port for both rings
};

/// Event context, or events masked; transmit() also under the switch's lock.
class VifQueue {
public:
    VifQueue(Vif& owner, kernel::DomainId domain) noexcept : owner_{owner}, domain_{domain} {}
    ~VifQueue() { disconnect(); }
    VifQueue(const VifQueue&) = delete;
    VifQueue& operator=(const VifQueue&) = delete;

    Status connect(const QueueOffer& offer);
    /// What came before the handlers were there.
    void kick() noexcept;
    void disconnect() noexcept;
    /// Nothing more is taken from the rings, and no event from the guest, until the next connect().
    void ignore() noexcept;

    /// Towards the guest; takes over every packet.
    void transmit(PacketList& packets) noexcept;

private:
    using CopyRequest = kernel::grant::CopyRequest;
    static constexpr unsigned copy_room = 192; ///< copies per hypercall
    static constexpr unsigned answer_room = 256;
    static constexpr unsigned packet_room = 64;
    static constexpr unsigned out_slot_room = 128;
    static void tx_event(kernel::event::Port, void* self);
    static void rx_event(kernel::event::Port, void* self);

    // Guest to switch.

    struct Incoming {
        PacketBuffer* buffer;
        std::uint16_t first_copy, copy_count;
        std::uint16_t first_answer, answer_count;
        std::uint16_t flags;
    };
    struct Answer {
        std::uint16_t id;
        bool is_extra;
    };

    void receive_from_guest() noexcept;

    /// One hypercall's worth of packets; returns the slots used.
    unsigned receive_batch(unsigned budget, PacketList& packets) noexcept;

    /// Allocates the packet in slots_ and lists the copies that fill it.
    void prepare(bool good) noexcept;

    /// Answers the slots of a packet whose copies are done, and passes it on if all is well.
    void finish_incoming(const Incoming& incoming, bool copied, PacketList& packets) noexcept;

    // Switch to guest.

    /// The slots of a packet on their way to the guest.
    struct Outgoing {
        std::uint16_t first_copy, copy_count;
        std::uint16_t first_slot, slot_count;
    };
    struct OutSlot {
        std::uint16_t id;
        std::uint16_t flags;
        std::uint16_t size;
        bool is_extra;
        cero_netif_extra_info extra;
    };

    void buffers_posted() noexcept;

    /// Buffers of the guest that a packet needs.
    static unsigned slots_needed(const PacketBuffer& packet) noexcept;

    void send_queued() noexcept;

    [[nodiscard]] bool may_queue() const noexcept;
    void note_dequeued(const PacketBuffer& packet) noexcept;
    void drop_front() noexcept;

    /// Takes buffers for a packet and lists the copies into them.
    void place(const PacketBuffer& packet) noexcept;

    void place_gso(const PacketBuffer& packet) noexcept;

    void finish_outgoing() noexcept;

    Vif& owner_;
    kernel::DomainId domain_;
    bool serving_{};
    bool in_receive_{};
    kernel::event::Port port_tx_{};
    kernel::event::Port port_rx_{};
    MappedRing tx_pages_;
    MappedRing rx_pages_;
    BackRing<cero_netif_tx_entry, cero_netif_tx_response> tx_ring_;
    BackRing<cero_netif_rx_request, cero_netif_rx_response> rx_ring_;

    // One batch from the guest. Members, as they are too large for a stack.
    PacketSlots slots_;
    CopyRequest copies_[copy_room];
    Answer answers_[answer_room];
    Incoming incoming_[packet_room];
    unsigned copy_count_{}, answer_count_{}, incoming_count_{};

    // One batch to the guest, and the packets waiting.
    kernel::Spinlock rx_lock_;
    PacketList queue_;
    PacketList batch_;
    unsigned queued_{};
    CopyRequest out_copies_[copy_room];
    OutSlot out_slots_[out_slot_room];
    Outgoing outgoing_[packet_room];
    unsigned out_copy_count_{}, out_slot_count_{}, outgoing_count_{};
};

} // namespace drivers::netif
