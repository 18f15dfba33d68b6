// SPDX-License-Identifier: BSD-2-Clause
// /proc/net and /sys/class/net: interfaces, routes, neighbours, sockets.
#include "../fs/procfs.hpp"
#include "../fs/sysfs.hpp"
#include "stack.hpp"
#include <kernel/initcall.hpp>

#include <lwip/etharp.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/raw.h>
#include <lwip/udp.h>

namespace kernel::net {

namespace {

using generated::file_mode;
using generated::Key;
using generated::Node;

void generate_dev(Text& out, Key) noexcept {
    out.append("Inter-|   Receive                                                |  Transmit\n"
               " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
               "errs drop fifo "
               "colls carrier compressed\n");
    StackGuard guard;
    out.append("    lo:       0       0    0    0    0     0          0         0        0       0 "
               "   0    0    0     0  "
               "     0          0\n");
    for (Interface& each : interfaces()) {
        const auto& s = each.device().statistics();
        out.format("%6s: %7llu %7llu    0 %4llu    0     0          0         0 %8llu %7llu    0 "
                   "%4llu    0     0       0"
                   "          0\n",
                   each.device().name(), ull(s.rx_bytes), ull(s.rx_packets), ull(s.rx_dropped),
                   ull(s.tx_bytes), ull(s.tx_packets), ull(s.tx_dropped));
    }
}

void generate_route(Text& out, Key) noexcept {
    out.append(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
    StackGuard guard;
    Route route{};
    for (std::size_t i = 0; route_at(i, route); ++i) {
        const netif* interface = find_netif(route.interface);
        if (interface == nullptr || route.interface == loopback_index)
            continue;
        const unsigned flags = 1U | (route.gateway != 0 ? 2U : 0U) | (route.mask == ~0U ? 4U : 0U);
        out.format("%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0\n", name_of(*interface),
                   route.destination, route.gateway, flags, route.metric, route.mask);
    }
}

void generate_arp(Text& out, Key) noexcept {
    out.append("IP address       HW type     Flags       HW address            Mask     Device\n");
    StackGuard guard;
    for (std::size_t i = 0; i < ARP_TABLE_SIZE; ++i) {
        ip4_addr_t* ip = nullptr;
        netif* interface = nullptr;
        eth_addr* hardware = nullptr;
        if (etharp_get_entry(i, &ip, &interface, &hardware) == 0)
            continue;
        const auto* m = hardware->addr;
        char text[16];
        cero::format_to(text, sizeof(text), "%u.%u.%u.%u", ip4_addr1(ip), ip4_addr2(ip),
                        ip4_addr3(ip), ip4_addr4(ip));
        out.format("%-16s 0x1         0x2         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
                   text, m[0], m[1], m[2], m[3], m[4], m[5], name_of(*interface));
    }
}

unsigned state_number(tcp_state state) noexcept {
    static constexpr std::uint8_t table[] = {7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6};
    return table[state];
}

void add_tcp(Text& out, const tcp_pcb& pcb, unsigned index, bool listening) noexcept {
    out.format("%4u: %08X:%04X %08X:%04X %02X %08X:%08X 00:00000000 00000000     0        0 0 1\n",
               index, pcb.local_ip.addr, pcb.local_port, listening ? 0 : pcb.remote_ip.addr,
               listening ? 0U : pcb.remote_port, state_number(pcb.state),
               listening ? 0U : static_cast<unsigned>(TCP_SND_BUF - pcb.snd_buf),
               listening ? 0U : static_cast<unsigned>(TCP_WND - pcb.rcv_wnd));
}

void generate_tcp(Text& out, Key) noexcept {
    out.append("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
               "timeout inode\n");
    StackGuard guard;
    unsigned index = 0;
    for (const tcp_pcb_listen* pcb = tcp_listen_pcbs.listen_pcbs; pcb != nullptr; pcb = pcb->next)
        add_tcp(out, *reinterpret_cast<const tcp_pcb*>(pcb), index++, true);
    for (const tcp_pcb* list : {tcp_active_pcbs, tcp_tw_pcbs})
        for (const tcp_pcb* pcb = list; pcb != nullptr; pcb = pcb->next)
            add_tcp(out, *pcb, index++, false);
}

void generate_udp(Text& out, Key) noexcept {
    out.append("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
               "timeout inode ref pointer "
               "drops\n");
    StackGuard guard;
    unsigned index = 0;
    for (const udp_pcb* pcb = udp_pcbs; pcb != nullptr; pcb = pcb->next)
        out.format("%4u: %08X:%04X %08X:%04X 07 00000000:00000000 00:00000000 00000000     0       "
                   " 0 0 2 0 0\n",
                   index++, pcb->local_ip.addr, pcb->local_port, pcb->remote_ip.addr,
                   pcb->remote_port);
}

void generate_nothing(Text&, Key) noexcept {}
void generate_unix(Text& out, Key) noexcept {
    out.append("Num       RefCount Protocol Flags    Type St Inode Path\n");
}

constexpr Node dev{.name = "dev", .mode = file_mode, .generate = generate_dev};
constexpr Node route_node{.name = "route", .mode = file_mode, .generate = generate_route};
constexpr Node arp{.name = "arp", .mode = file_mode, .generate = generate_arp};
constexpr Node tcp{.name = "tcp", .mode = file_mode, .generate = generate_tcp};
constexpr Node udp{.name = "udp", .mode = file_mode, .generate = generate_udp};
constexpr Node raw_node{.name = "raw", .mode = file_mode, .generate = generate_nothing};
constexpr Node unix_node{.name = "unix", .mode = file_mode, .generate = generate_unix};
constexpr Node if_inet6{.name = "if_inet6", .mode = file_mode, .generate = generate_nothing};
constexpr Node tcp6{.name = "tcp6", .mode = file_mode, .generate = generate_nothing};
constexpr Node udp6{.name = "udp6", .mode = file_mode, .generate = generate_nothing};
constexpr Node raw6{.name = "raw6", .mode = file_mode, .generate = generate_nothing};

// /sys/class/net/<interface>; Key::item is the interface's index.
using Property = void (*)(Text& out, Interface& interface) noexcept;
template <Property property>
void generate_property(Text& out, Key key) noexcept {
    StackGuard guard;
    if (Interface* interface = find_interface(static_cast<int>(key.item)))
        property(out, *interface);
}
void address_of(Text& out, Interface& interface) noexcept {
    const auto* m = interface.device().mac().byte;
    out.format("%02x:%02x:%02x:%02x:%02x:%02x\n", m[0], m[1], m[2], m[3], m[4], m[5]);
}
void mtu_of(Text& out, Interface& interface) noexcept {
    out.format("%u\n", interface.mtu());
}
void index_text(Text& out, Interface& interface) noexcept {
    out.format("%d\n", interface.index());
}
void state_of(Text& out, Interface& interface) noexcept {
    out.append(netif_is_up(&interface.lwip) && interface.device().link_up() ? "up\n" : "down\n");
}
void carrier_of(Text& out, Interface& interface) noexcept {
    out.append(interface.device().link_up() ? "1\n" : "0\n");
}
void rx_bytes(Text& out, Interface& interface) noexcept {
    out.format("%llu\n", ull(interface.device().statistics().rx_bytes));
}
void tx_bytes(Text& out, Interface& interface) noexcept {
    out.format("%llu\n", ull(interface.device().statistics().tx_bytes));
}
void rx_packets(Text& out, Interface& interface) noexcept {
    out.format("%llu\n", ull(interface.device().statistics().rx_packets));
}
void tx_packets(Text& out, Interface& interface) noexcept {
    out.format("%llu\n", ull(interface.device().statistics().tx_packets));
}
constexpr Node address_node{
    .name = "address", .mode = file_mode, .generate = generate_property<address_of>};
constexpr Node mtu_node{.name = "mtu", .mode = file_mode, .generate = generate_property<mtu_of>};
constexpr Node index_node{
    .name = "ifindex", .mode = file_mode, .generate = generate_property<index_text>};
constexpr Node state_node{
    .name = "operstate", .mode = file_mode, .generate = generate_property<state_of>};
constexpr Node carrier_node{
    .name = "carrier", .mode = file_mode, .generate = generate_property<carrier_of>};
constexpr Node rx_bytes_node{
    .name = "rx_bytes", .mode = file_mode, .generate = generate_property<rx_bytes>};
constexpr Node tx_bytes_node{
    .name = "tx_bytes", .mode = file_mode, .generate = generate_property<tx_bytes>};
constexpr Node rx_packets_node{
    .name = "rx_packets", .mode = file_mode, .generate = generate_property<rx_packets>};
constexpr Node tx_packets_node{
    .name = "tx_packets", .mode = file_mode, .generate = generate_property<tx_packets>};
constexpr const Node* statistics_children[] = {&rx_bytes_node, &tx_bytes_node, &rx_packets_node,
                                               &tx_packets_node};
constexpr Node statistics_node{
    .name = "statistics", .mode = generated::directory_mode, .children = statistics_children};
constexpr const Node* interface_children[] = {&address_node, &mtu_node,     &index_node,
                                              &state_node,   &carrier_node, &statistics_node};
constexpr Node interface_directory{
    .name = "interface", .mode = generated::directory_mode, .children = interface_children};

bool next_interface(Key, std::uint64_t& cookie, generated::DynamicChild& child) noexcept {
    StackGuard guard;
    Interface* next = nullptr;
    for (Interface& each : interfaces())
        if (static_cast<std::uint64_t>(each.index()) > cookie &&
            (next == nullptr || each.index() < next->index()))
            next = &each;
    if (next == nullptr)
        return false;
    cookie = static_cast<std::uint64_t>(next->index());
    copy_text(child.name, next->device().name());
    child.node = &interface_directory;
    child.key = {0, cookie};
    return true;
}

void register_nodes() {
    for (const Node* node : {&dev, &route_node, &arp, &tcp, &udp, &raw_node, &unix_node, &if_inet6,
                             &tcp6, &udp6, &raw6})
        procfs::add_net_file(*node);
    sysfs::set_network_entries(next_interface);
}
CERO_INITCALL(fs, register_nodes);

} // namespace
} // namespace kernel::net
