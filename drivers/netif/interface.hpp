// SPDX-License-Identifier: BSD-2-Clause
// Interface: a guest's own side of its network device, as the IP stack sees it.
//
// Transmit: the pages of a packet are lent until the backend has answered. Receive: each ring slot
// has a page lent for good, and packets are copied out of it at once: no grant changes hands per
// packet.
#pragma once

#include "../net/packet_queue.hpp"
#include "../ring/ring.hpp"

#include <cero/abi/io/net.h>
#include <cero/driver/net.hpp>
#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/sync.hpp>

namespace drivers::netif {

/// Its lock guards both rings; packets are delivered without it.
class Interface final : public NetDevice {
public:
    Interface(const char* name, kernel::DomainId backend, const MacAddress& mac) noexcept;
    ~Interface() override { close_channel(); }

    Status open_channel();
    void set_features(const NetFeatures& backend_takes) noexcept { features_ = backend_takes; }
    void go_live() noexcept;
    void close_channel() noexcept;
    [[nodiscard]] kernel::grant::Ref tx_ref() const noexcept { return tx_ref_; }
    [[nodiscard]] kernel::grant::Ref rx_ref() const noexcept { return rx_ref_; }
    [[nodiscard]] kernel::event::Port port() const noexcept { return port_; }

    void transmit(PacketList& packets) noexcept override;

private:
    static constexpr unsigned tx_slots = CERO_NETIF_RING_ENTRIES;
    static constexpr unsigned rx_slots = CERO_NETIF_RING_ENTRIES;
    static constexpr unsigned tx_queue_limit =
        2048; ///< pages of packets waiting for room on the ring
    using Ref = kernel::grant::Ref;
    static constexpr Ref invalid_ref = kernel::grant::invalid_ref;
    struct TxSlot {
        PacketBuffer* packet{};
        Ref ref{invalid_ref};
        std::uint16_t next_free{};
    };
    struct RxSlot {
        std::byte* page{};
        Ref ref{invalid_ref};
    };

    Status share_ring(void*& page, Ref& ref);
    static void give_back(Ref ref, void* page) noexcept;

    /// A slot's share of the packet is answered (or given up); the packet goes with its last slot.
    void finish_slot(TxSlot& slot, bool release_page) noexcept;

    /// A fragment lies within one page by construction, so each is one slot.
    static bool can_ever_send(const PacketBuffer& packet) noexcept;

    /// Puts what fits on the ring and shows it to the backend.
    void send_waiting() noexcept;

    /// Sending reaps as well, so an event is wanted only when half of what is out has been
    /// answered.
    void reap_and_send() noexcept;

    /// The first waiting packet; false when it has to wait on.
    bool send(PacketBuffer& packet) noexcept;
    void return_slot(TxSlot& slot) noexcept;

    void reap_transmitted() noexcept;

    void handle_event() noexcept;

    /// Takes packets out of the receive ring and posts the buffers again.
    void receive(PacketList& packets) noexcept;

    void accept(const cero_netif_rx_response& response, const std::byte* page) noexcept;
    void accept_extra(const cero_netif_extra_info& extra) noexcept;
    void finish_packet(PacketList& packets) noexcept;
    void repost(unsigned buffer) noexcept;

    void disable(const char* why) noexcept;

    kernel::DomainId backend_;
    kernel::Spinlock lock_;
    bool live_{};
    kernel::event::Port port_{};
    FrontRing<cero_netif_tx_entry, cero_netif_tx_response> tx_ring_;
    FrontRing<cero_netif_rx_request, cero_netif_rx_response> rx_ring_;
    void* tx_page_{};
    void* rx_page_{};
    Ref tx_ref_{invalid_ref};
    Ref rx_ref_{invalid_ref};
    PacketQueue waiting_{tx_queue_limit};
    TxSlot tx_[tx_slots];
    unsigned first_free_{};
    unsigned free_count_{tx_slots};
    RxSlot rx_[rx_slots];
    /// Which buffer was posted as request number n: at first buffer n.
    std::uint8_t posted_[CERO_NETIF_RING_ENTRIES]{};
    PacketBuffer* assembling_{};
    bool spoilt_{};
    bool expect_extra_{};
    bool more_data_{};
};

} // namespace drivers::netif
