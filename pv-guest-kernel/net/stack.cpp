// SPDX-License-Identifier: BSD-2-Clause
// The stack's lock, thread and interfaces: packets between drv's devices and lwIP.
#include "stack.hpp"
#include "segment_offload.hpp"
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/socket.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

#include <lwip/etharp.h>
#include <lwip/inet_chksum.h>
#include <lwip/init.h>
#include <lwip/ip4_frag.h>
#include <lwip/prot/ip.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/tcp.h>
#include <lwip/prot/udp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#include <cstring>
#include <new>

namespace kernel::net {

using drivers::Checksum;
using drivers::PacketBuffer;
using drivers::PacketList;

namespace {

struct Stack {
    Mutex lock;
    WaitQueue thread_queue;
    volatile bool input_waits{};
    volatile Nanoseconds thread_deadline{}; ///< when the thread will look at the timers next
    InterfaceList interfaces;
    int next_index{loopback_index + 1};
};

Stack& stack() noexcept {
    static Stack instance;
    return instance;
}

constexpr std::size_t input_limit =
    2048; ///< pages of packets per interface that wait for the thread

/// Then others may have the stack's lock.
constexpr unsigned packets_per_turn = 128;

/// lwIP's buffer over one fragment of a received packet.
struct ReceivedPbuf {
    pbuf_custom custom;
    PacketBuffer* packet; ///< one reference each
};
void free_received(pbuf* p) {
    auto* received = reinterpret_cast<ReceivedPbuf*>(p);
    received->packet->release();
    delete received;
}

/// The packet as a chain of lwIP buffers, without a copy. Takes over the packet.
pbuf* wrap(PacketBuffer& packet) noexcept {
    pbuf* head = nullptr;
    for (unsigned i = 0; i < packet.fragment_count; ++i) {
        auto* received = new (std::nothrow) ReceivedPbuf{};
        if (received == nullptr) {
            if (head != nullptr)
                pbuf_free(head);
            packet.release();
            return nullptr;
        }
        received->packet = &packet;
        packet.acquire();
        received->custom.custom_free_function = free_received;
        const auto length = static_cast<u16_t>(packet.fragments[i].length);
        pbuf* part = pbuf_alloced_custom(PBUF_RAW, length, PBUF_REF, &received->custom,
                                         packet.fragments[i].data, length);
        if (head == nullptr)
            head = part;
        else
            pbuf_cat(head, part);
    }
    packet.release();
    return head;
}

struct Headers {
    bool is_ip4;
    bool is_fragment;
    std::uint8_t protocol;
    std::size_t ip_offset, l4_offset, l4_length;
    std::uint32_t source, destination;
};

/// Looks at Ethernet and IPv4 headers, which must be contiguous.
Headers parse(const void* frame, std::size_t contiguous) noexcept {
    Headers out{};
    if (contiguous < SIZEOF_ETH_HDR + IP_HLEN)
        return out;
    eth_hdr ethernet;
    std::memcpy(&ethernet, frame, sizeof(ethernet));
    if (ethernet.type != PP_HTONS(ETHTYPE_IP))
        return out;
    ip_hdr ip;
    std::memcpy(&ip, static_cast<const char*>(frame) + SIZEOF_ETH_HDR, sizeof(ip));
    const std::size_t header = IPH_HL_BYTES(&ip);
    const std::size_t total = lwip_ntohs(IPH_LEN(&ip));
    if (header < IP_HLEN || total < header)
        return out;
    out.is_ip4 = true;
    out.is_fragment = (IPH_OFFSET(&ip) & PP_HTONS(IP_OFFMASK | IP_MF)) != 0;
    out.protocol = IPH_PROTO(&ip);
    out.ip_offset = SIZEOF_ETH_HDR;
    out.l4_offset = SIZEOF_ETH_HDR + header;
    out.l4_length = total - header;
    out.source = ip.src.addr;
    out.destination = ip.dest.addr;
    return out;
}

bool has_checksum(const Headers& h) noexcept {
    return h.is_ip4 && !h.is_fragment && (h.protocol == IP_PROTO_TCP || h.protocol == IP_PROTO_UDP);
}

/// False if the transport checksum of a received packet is wrong.
bool checksum_is_right(pbuf* p) noexcept {
    const Headers h = parse(p->payload, p->len);
    if (!has_checksum(h) || p->tot_len < h.l4_offset + h.l4_length)
        return true; // lwIP sees to lengths
    if (h.protocol == IP_PROTO_UDP && p->len >= h.l4_offset + UDP_HLEN) {
        udp_hdr udp;
        std::memcpy(&udp, static_cast<const char*>(p->payload) + h.l4_offset, sizeof(udp));
        if (udp.chksum == 0)
            return true;
    }
    ip4_addr_t source{h.source};
    ip4_addr_t destination{h.destination};
    if (p->len <= h.l4_offset || pbuf_remove_header(p, h.l4_offset) != 0)
        return true;
    const auto length = static_cast<u16_t>(h.l4_length);
    const bool right =
        inet_chksum_pseudo_partial(p, h.protocol, length, length, &source, &destination) == 0;
    pbuf_add_header_force(p, h.l4_offset);
    return right;
}

/// Leaves the transport checksum to the device: the field gets the sum of the pseudo header.
void request_checksum(PacketBuffer& packet) noexcept {
    auto& first = packet.fragments[0];
    const Headers h = parse(first.data, first.length);
    const std::size_t field =
        h.protocol == IP_PROTO_TCP ? offsetof(tcp_hdr, chksum) : offsetof(udp_hdr, chksum);
    if (!has_checksum(h) || first.length < h.l4_offset + field + 2)
        return;
    const std::uint32_t words[3] = {
        h.source, h.destination,
        static_cast<std::uint32_t>(h.protocol) << 8U |
            static_cast<std::uint32_t>(lwip_htons(static_cast<u16_t>(h.l4_length))) << 16U};
    const std::uint16_t sum = cero_net_checksum(words, sizeof(words));
    std::memcpy(first.data + h.l4_offset + field, &sum, sizeof(sum));
    packet.checksum = Checksum::partial;
    packet.checksum_start = static_cast<std::uint16_t>(h.l4_offset);
    packet.checksum_offset = static_cast<std::uint16_t>(field);
}

} // namespace

InterfaceList& interfaces() noexcept {
    return stack().interfaces;
}

StackGuard::StackGuard() noexcept {
    stack().lock.lock();
}

StackGuard::~StackGuard() {
    netif_poll_all();
    for (Interface& interface : stack().interfaces)
        interface.flush();
    const u32_t wait_ms = sys_timeouts_sleeptime();
    const bool sooner = wait_ms != SYS_TIMEOUTS_SLEEPTIME_INFINITE &&
                        monotonic_ns() + wait_ms * ns_per_ms < stack().thread_deadline;
    stack().lock.unlock();
    if (sooner)
        wake_net_thread();
}

void wake_net_thread() noexcept {
    stack().input_waits = true;
    stack().thread_queue.wake_all();
}

Status Interface::attach(int index) noexcept {
    index_ = index;
    if (netif_add_noaddr(&lwip, this, initialize, ethernet_input) == nullptr)
        return Errno::nomem;
    lwip.state = this;
    interfaces().push_back(*this);
    device_.set_receiver(this);
    return {};
}

void Interface::detach() noexcept {
    device_.set_receiver(nullptr);
    drop_routes(index_);
    InterfaceList::remove(*this);
    netif_remove(&lwip);
    while (PacketBuffer* packet = incoming_.pop_front())
        packet->release();
    while (PacketBuffer* packet = outgoing_.pop_front())
        packet->release();
}

err_t Interface::initialize(netif* interface) {
    auto& self = *static_cast<Interface*>(interface->state);
    interface->name[0] = self.device_.name()[0];
    interface->name[1] = self.device_.name()[1];
    interface->output = output_ip;
    interface->linkoutput = output;
    self.set_mtu(static_cast<u16_t>(self.device_.mtu()));
    interface->hwaddr_len = ETH_HWADDR_LEN;
    std::memcpy(interface->hwaddr, self.device_.mac().byte, ETH_HWADDR_LEN);
    interface->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    if (self.device_.link_up())
        interface->flags |= NETIF_FLAG_LINK_UP;
    u16_t checks = NETIF_CHECKSUM_ENABLE_ALL;
    if (self.device_.features().tx_checksum)
        checks = static_cast<u16_t>(checks & ~(NETIF_CHECKSUM_GEN_TCP | NETIF_CHECKSUM_GEN_UDP));
    NETIF_SET_CHECKSUM_CTRL(interface, checks);
    return ERR_OK;
}

void Interface::set_mtu(std::uint16_t mtu) noexcept {
    mtu_ = mtu;
    // lwIP would cut a long segment into IP fragments: it is told of no limit, unless the limit is
    // below what it would offer its peers.
    lwip.mtu = cuts_segments() && mtu >= TCP_MSS + IP_HLEN + TCP_HLEN ? 0 : mtu;
}

/// Long segments go to the device whole; other long packets become fragments.
err_t Interface::output_ip(netif* interface, pbuf* p, const ip4_addr_t* destination) {
    auto& self = *static_cast<Interface*>(interface->state);
    if (interface->mtu != 0 || p->tot_len <= self.mtu_ ||
        IPH_PROTO(static_cast<const ip_hdr*>(p->payload)) == IP_PROTO_TCP)
        return etharp_output(interface, p, destination);
    interface->mtu = self.mtu_;
    const err_t status = ip4_frag(p, interface, destination);
    interface->mtu = 0;
    return status;
}

err_t Interface::output(netif* interface, pbuf* p) {
    auto& self = *static_cast<Interface*>(interface->state);
    PacketBuffer* packet = PacketBuffer::allocate();
    if (packet == nullptr)
        return ERR_MEM;
    if (p->tot_len <= PacketBuffer::inline_size - PacketBuffer::default_headroom) {
        packet->set_inline(PacketBuffer::default_headroom, p->tot_len);
        pbuf_copy_partial(p, packet->fragments[0].data, p->tot_len, 0);
    } else {
        for (; p != nullptr; p = p->next)
            if (!packet->append(p->payload, p->len)) {
                packet->release();
                return ERR_MEM;
            }
    }
    if (packet->length() > SIZEOF_ETH_HDR + std::size_t{self.mtu_})
        static_cast<void>(describe_long_segment(*packet, SIZEOF_ETH_HDR));
    if (self.device_.features().tx_checksum)
        request_checksum(*packet);
    if (has_packet_sockets())
        offer_to_packet_sockets(self, *packet, true);
    self.outgoing_.push_back(*packet);
    return ERR_OK;
}

void Interface::flush() noexcept {
    if (!outgoing_.empty())
        device_.transmit(outgoing_);
}

void Interface::receive(PacketList& packets) noexcept {
    {
        SpinGuard guard{lock_};
        while (PacketBuffer* packet = packets.pop_front()) {
            if (incoming_pages_ >= input_limit) {
                packet->release();
                continue;
            }
            incoming_.push_back(*packet);
            incoming_pages_ += packet->pages();
        }
    }
    wake_net_thread();
}

void Interface::link_changed(bool up) noexcept {
    if (up)
        lwip.flags |= NETIF_FLAG_LINK_UP;
    else
        lwip.flags = static_cast<u8_t>(lwip.flags & ~NETIF_FLAG_LINK_UP);
}

void Interface::input(PacketBuffer& packet) noexcept {
    if (has_packet_sockets())
        offer_to_packet_sockets(*this, packet, false);
    if (!netif_is_up(&lwip)) {
        packet.release();
        return;
    }
    const bool verify = packet.checksum == Checksum::complete;
    pbuf* p = wrap(packet);
    if (p == nullptr)
        return;
    if ((verify && !checksum_is_right(p)) || lwip.input(p, &lwip) != ERR_OK)
        pbuf_free(p);
}

bool Interface::process() noexcept {
    for (unsigned i = 0; i < packets_per_turn; ++i) {
        PacketBuffer* packet = nullptr;
        {
            SpinGuard guard{lock_};
            packet = incoming_.pop_front();
            if (packet == nullptr)
                return false;
            incoming_pages_ -= packet->pages();
        }
        input(*packet);
        if (should_give_way())
            break;
    }
    return true;
}

Interface* find_interface(std::string_view name) noexcept {
    for (Interface& interface : interfaces())
        if (name == interface.device().name())
            return &interface;
    return nullptr;
}
Interface* find_interface(int index) noexcept {
    for (Interface& interface : interfaces())
        if (interface.index() == index)
            return &interface;
    return nullptr;
}

namespace {
netif* loopback() noexcept {
    for (netif* each = netif_list; each != nullptr; each = each->next)
        if (each->name[0] == 'l' && each->name[1] == 'o')
            return each;
    return nullptr;
}
} // namespace

netif* find_netif(std::string_view name) noexcept {
    if (name == "lo")
        return loopback();
    Interface* found = find_interface(name);
    return found == nullptr ? nullptr : &found->lwip;
}
netif* find_netif(int index) noexcept {
    if (index == loopback_index)
        return loopback();
    Interface* found = find_interface(index);
    return found == nullptr ? nullptr : &found->lwip;
}
int index_of(const netif& interface) noexcept {
    for (Interface& each : interfaces())
        if (&each.lwip == &interface)
            return each.index();
    return loopback_index;
}
std::uint16_t mtu_of(const netif& interface) noexcept {
    const Interface* found = find_interface(index_of(interface));
    return found == nullptr ? std::uint16_t{65535} : found->mtu();
}
void set_mtu(netif& interface, std::uint16_t mtu) noexcept {
    if (Interface* found = find_interface(index_of(interface)))
        found->set_mtu(mtu);
}
const char* name_of(const netif& interface) noexcept {
    for (Interface& each : interfaces())
        if (&each.lwip == &interface)
            return each.device().name();
    return "lo";
}

namespace {

void run_for_ever(void*) {
    ration_this_thread();
    for (;;) {
        Nanoseconds deadline = WaitQueue::no_deadline;
        bool has_more = false;
        {
            StackGuard guard;
            stack().input_waits = false;
            for (Interface& interface : stack().interfaces)
                has_more |= interface.process();
            sys_check_timeouts();
            const u32_t wait_ms = sys_timeouts_sleeptime();
            if (wait_ms != SYS_TIMEOUTS_SLEEPTIME_INFINITE)
                deadline = monotonic_ns() + wait_ms * ns_per_ms;
            stack().thread_deadline = deadline;
        }
        if (has_more) {
            give_way();
            continue;
        }
        (void)stack().thread_queue.wait_until(deadline, [] { return stack().input_waits; });
    }
}

class Listener final : public drivers::NetListener {
public:
    void net_added(drivers::NetDevice& device) noexcept override {
        auto* interface = new (std::nothrow) Interface{device};
        if (interface == nullptr)
            return;
        StackGuard guard;
        if (!interface->attach(stack().next_index++))
            delete interface;
    }
    void net_removed(drivers::NetDevice& device) noexcept override {
        StackGuard guard;
        if (Interface* interface = find_interface(device.name())) {
            interface->detach();
            delete interface;
        }
    }
};

void start_network() {
    if (auto status = start(); !status)
        printk(Level::error, "net: cannot start: error %d\n", static_cast<int>(status.error()));
}
CERO_INITCALL(fs, start_network);

} // namespace

Status start() noexcept {
    stack().thread_deadline = WaitQueue::no_deadline;
    {
        stack().lock.lock();
        lwip_init();
        if (netif* lo = loopback())
            NETIF_SET_CHECKSUM_CTRL(lo, NETIF_CHECKSUM_DISABLE_ALL);
        stack().lock.unlock();
    }
    TRY(spawn_kernel_thread("net", run_for_ever, nullptr));
    static Listener listener;
    drivers::NetRegistry::listen(listener);
    return {};
}

} // namespace kernel::net
