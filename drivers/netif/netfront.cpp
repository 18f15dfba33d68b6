// SPDX-License-Identifier: BSD-2-Clause
// netfront: a network interface whose other end is a backend in another domain. Registered as eth0
// ... .
//
// Transmit: the pages of a packet are lent until the backend has answered. Receive: each ring slot
// has a page lent for good, and packets are copied out of it at once: no grant changes hands per
// packet.
#include "../net/packet_queue.hpp"
#include "../ring/ring.hpp"
#include "../xenbus/bus.hpp"

#include <cero/abi/io/net.h>
#include <cero/driver/net.hpp>
#include <cero/lib/format.hpp>
#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>
#include <new>

namespace drivers::netif {

namespace {

using kernel::grant::invalid_ref;
using kernel::grant::Ref;
using xenbus::State;

constexpr unsigned tx_slots = CERO_NETIF_RING_ENTRIES;
constexpr unsigned rx_slots = CERO_NETIF_RING_ENTRIES;
constexpr unsigned tx_queue_limit = 1024; ///< packets waiting for room on the ring
constexpr std::size_t page_size = kernel::page_size;

class Interface final : public NetDevice {
public:
    Interface(const char* name, kernel::DomainId backend, const MacAddress& mac) noexcept
        : backend_{backend} {
        set_name(name);
        mac_ = mac;
        for (unsigned i = 0; i < tx_slots; ++i)
            tx_[i].next_free = static_cast<std::uint16_t>(i + 1);
    }
    ~Interface() override { close_channel(); }

    Status open_channel() {
        TRY(share_ring(tx_page_, tx_ref_));
        TRY(share_ring(rx_page_, rx_ref_));
        tx_ring_.initialise(tx_page_, page_size);
        rx_ring_.initialise(rx_page_, page_size);
        for (unsigned i = 0; i < rx_slots; ++i) {
            rx_[i].page = static_cast<std::byte*>(kernel::alloc_pages(0));
            if (rx_[i].page == nullptr)
                return Errno::nomem;
            rx_[i].ref =
                TRY(kernel::grant::offer(backend_, kernel::virt_to_mfn(rx_[i].page), false));
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
    void set_features(const NetFeatures& backend_takes) noexcept { features_ = backend_takes; }
    void go_live() noexcept {
        live_ = true;
        set_link(true);
        handle_event();
    }
    void close_channel() noexcept {
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
    [[nodiscard]] Ref tx_ref() const noexcept { return tx_ref_; }
    [[nodiscard]] Ref rx_ref() const noexcept { return rx_ref_; }
    [[nodiscard]] kernel::event::Port port() const noexcept { return port_; }

    void transmit(PacketList& packets) noexcept override {
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

private:
    struct TxSlot {
        PacketBuffer* packet{};
        Ref ref{invalid_ref};
        std::uint16_t next_free{};
    };
    struct RxSlot {
        std::byte* page{};
        Ref ref{invalid_ref};
    };

    Status share_ring(void*& page, Ref& ref) {
        page = kernel::alloc_zeroed_page();
        if (page == nullptr)
            return Errno::nomem;
        ref = TRY(kernel::grant::offer(backend_, kernel::virt_to_mfn(page), false));
        return {};
    }
    static void give_back(Ref ref, void* page) noexcept {
        if (ref != invalid_ref)
            kernel::grant::withdraw_deferred(ref, page);
        else if (page != nullptr)
            kernel::free_pages(page, 0);
    }

    /// A slot's share of the packet is answered (or given up); the packet goes with its last slot.
    void finish_slot(TxSlot& slot, bool release_page) noexcept {
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

    /// A fragment lies within one page by construction, so each is one slot.
    static bool can_ever_send(const PacketBuffer& packet) noexcept {
        return packet.fragment_count != 0 && packet.fragment_count <= CERO_NETIF_NR_SLOTS_MIN;
    }

    /// Puts what fits on the ring and shows it to the backend.
    void send_waiting() noexcept {
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

    /// Sending reaps as well, so an event is wanted only when half of what is out has been
    /// answered.
    void reap_and_send() noexcept {
        do {
            reap_transmitted();
            send_waiting();
        } while (live_ && tx_ring_.unanswered() != 0 &&
                 tx_ring_.arm((tx_ring_.unanswered() + 1) / 2));
    }

    /// The first waiting packet; false when it has to wait on.
    bool send(PacketBuffer& packet) noexcept {
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
                static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(fragment.data) %
                                           page_size),
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
    void return_slot(TxSlot& slot) noexcept {
        slot.ref = invalid_ref;
        slot.next_free = static_cast<std::uint16_t>(first_free_);
        first_free_ = static_cast<unsigned>(&slot - tx_);
        ++free_count_;
    }

    void reap_transmitted() noexcept {
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

    void handle_event() noexcept {
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

    /// Takes packets out of the receive ring and posts the buffers again.
    void receive(PacketList& packets) noexcept {
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

    void accept(const cero_netif_rx_response& response, const std::byte* page) noexcept {
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
        const std::size_t size =
            response.status > 0 ? static_cast<std::size_t>(response.status) : 0;
        if (size == 0 || response.offset + size > page_size)
            spoilt_ = true;
        if (!spoilt_ && !assembling_->append(page + response.offset, size))
            spoilt_ = true;
    }
    void accept_extra(const cero_netif_extra_info& extra) noexcept {
        expect_extra_ = (extra.flags & CERO_NETIF_EXTRA_FLAG_MORE) != 0;
        if (extra.type != CERO_NETIF_EXTRA_TYPE_GSO || spoilt_)
            return;
        assembling_->gso = extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV4   ? Gso::tcp4
                           : extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV6 ? Gso::tcp6
                                                                           : Gso::none;
        assembling_->gso_size = extra.u.gso.size;
    }
    void finish_packet(PacketList& packets) noexcept {
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
    void repost(unsigned buffer) noexcept {
        posted_[rx_ring_.next_index() % CERO_NETIF_RING_ENTRIES] =
            static_cast<std::uint8_t>(buffer);
        rx_ring_.put(cero_netif_rx_request{static_cast<std::uint16_t>(buffer), 0, rx_[buffer].ref});
    }

    void disable(const char* why) noexcept {
        if (live_)
            kernel::printk(kernel::Level::error, "%s: %s; interface disabled\n", name(), why);
        live_ = false;
    }

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

public:
    void prime() noexcept {
        for (unsigned i = 0; i < rx_slots; ++i)
            posted_[i] = static_cast<std::uint8_t>(i);
    }
};

unsigned interface_count = 0;

class Netfront final : public xenbus::Device {
public:
    explicit Netfront(const xenbus::NodeInfo& info) noexcept : Device{info} {}

    Status start() override {
        const auto text = [&]() -> xenbus::Value {
            auto value = xenbus::read(own_key("mac"));
            return value ? *std::move(value) : xenbus::Value{};
        }();
        MacAddress mac;
        if (!parse_mac(text.c_str(), mac))
            return Errno::inval;
        char name[NetDevice::name_size];
        cero::format_to(name, sizeof name, "eth%u", interface_count++);
        interface_ = new (std::nothrow) Interface{name, other_id(), mac};
        return interface_ != nullptr ? Status{} : Status{Errno::nomem};
    }

    void other_changed(State other) override {
        switch (other) {
        case State::init_wait:
            if (state() == State::initialising)
                if (const Status offered = offer(); !offered)
                    fail(offered.error(), "cannot offer rings");
            break;
        case State::connected:
            if (state() == State::connected && !registered_)
                connect();
            break;
        case State::closing:
        case State::closed:
        case State::unknown:
            if (state() == State::closed ||
                (state() == State::initialising && other != State::closing))
                break;
            drop_interface();
            static_cast<void>(set_state(State::closed));
            break;
        default:
            break;
        }
    }

    void stop() override { drop_interface(); }

private:
    static bool parse_mac(const char* text, MacAddress& mac) noexcept {
        for (unsigned i = 0; i < 6; ++i) {
            unsigned byte = 0;
            for (unsigned digit = 0; digit < 2; ++digit, ++text) {
                const char lower = static_cast<char>(*text | 0x20);
                if (*text >= '0' && *text <= '9')
                    byte = byte * 16 + static_cast<unsigned>(*text - '0');
                else if (lower >= 'a' && lower <= 'f')
                    byte = byte * 16 + static_cast<unsigned>(lower - 'a') + 10;
                else
                    return false;
            }
            mac.byte[i] = static_cast<std::uint8_t>(byte);
            if (i < 5 && *text++ != ':')
                return false;
        }
        return *text == '\0';
    }

    Status offer() {
        interface_->prime();
        TRY(interface_->open_channel());
        const Status written = xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            TRY(write_own("tx-ring-ref", interface_->tx_ref(), transaction));
            TRY(write_own("rx-ring-ref", interface_->rx_ref(), transaction));
            TRY(write_own("event-channel", interface_->port(), transaction));
            for (const char* feature : {"request-rx-copy", "feature-rx-notify", "feature-sg",
                                        "feature-ipv6-csum-offload"})
                TRY(write_own(feature, 1, transaction));
            return {};
        });
        if (!written)
            return written.error();
        return set_state(State::connected);
    }

    void connect() {
        NetFeatures takes;
        takes.scatter_gather = other_number("feature-sg", 0) != 0;
        takes.tx_checksum = other_number("feature-no-csum-offload", 0) == 0;
        takes.tso4 = takes.scatter_gather && other_number("feature-gso-tcpv4", 0) != 0;
        takes.tso6 = takes.scatter_gather && other_number("feature-gso-tcpv6", 0) != 0;
        interface_->set_features(
            takes); // the IP stack looks at them once, when it hears of the interface
        registered_ = NetRegistry::add(*interface_).has_value();
        interface_->go_live();
        settled();
    }
    void drop_interface() {
        if (interface_ == nullptr)
            return;
        if (registered_)
            NetRegistry::remove(*interface_);
        registered_ = false;
        delete interface_;
        interface_ = nullptr;
    }

    Interface* interface_{};
    bool registered_{};
};

constinit xenbus::DriverType type{"vif",
                                  xenbus::End::front,
                                  [](const xenbus::NodeInfo& info) -> xenbus::Device* {
                                      return new (std::nothrow) Netfront{info};
                                  },
                                  {}};

void start_netfront() {
    xenbus::register_driver(type);
}
CERO_INITCALL(device, start_netfront);

} // namespace

} // namespace drivers::netif
