// SPDX-License-Identifier: BSD-2-Clause
// AF_NETLINK, protocol ROUTE: listing links, addresses, routes and neighbours, and changing them,
// for `ip`.
#include "../fs/text.hpp"
#include "socket.hpp"
#include "socket_wait.hpp"
#include "stack.hpp"
#include <kernel/process_api.hpp>

#include <lwip/etharp.h>

#include <new>

namespace kernel::net {

namespace {

struct Header {
    std::uint32_t length;
    std::uint16_t type, flags;
    std::uint32_t sequence, port;
};
struct LinkMessage {
    std::uint8_t family, pad;
    std::uint16_t type;
    std::int32_t index;
    std::uint32_t flags, change;
};
struct AddressMessage {
    std::uint8_t family, prefix_length, flags, scope;
    std::uint32_t index;
};
struct RouteMessage {
    std::uint8_t family, destination_length, source_length, tos, table, protocol, scope, type;
    std::uint32_t flags;
};
struct NeighbourMessage {
    std::uint8_t family, pad1;
    std::uint16_t pad2;
    std::int32_t index;
    std::uint16_t state;
    std::uint8_t flags, type;
};
struct Attribute {
    std::uint16_t length, type;
};
struct NetlinkAddress {
    std::uint16_t family{af_netlink}, pad{};
    std::uint32_t port{}, groups{};
};

namespace message {
enum : std::uint16_t {
    error = 2,
    done = 3,
    new_link = 16,
    del_link,
    get_link,
    set_link,
    new_address,
    del_address,
    get_address,
    new_route = 24,
    del_route,
    get_route,
    new_neighbour = 28,
    del_neighbour,
    get_neighbour,
};
constexpr std::uint16_t multi = 2, ack = 4, root = 0x100, match = 0x200;
} // namespace message

constexpr std::size_t align4(std::size_t n) noexcept {
    return (n + 3) & ~std::size_t{3};
}

template <typename T>
std::string_view bytes_of(const T& value) noexcept {
    return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

/// Builds messages one behind another.
class Reply {
public:
    Reply(std::uint32_t sequence, std::uint32_t port) noexcept : sequence_{sequence}, port_{port} {}

    template <typename Body>
    void begin(std::uint16_t type, std::uint16_t flags, const Body& body) noexcept {
        start_ = text_.size();
        text_.append(bytes_of(Header{0, type, flags, sequence_, port_}));
        text_.append(bytes_of(body));
    }
    void add(std::uint16_t type, std::string_view value) noexcept {
        const Attribute attribute{static_cast<std::uint16_t>(sizeof(Attribute) + value.size()),
                                  type};
        text_.append(bytes_of(attribute));
        text_.append(value);
        static constexpr char zeros[4] = {};
        text_.append({zeros, align4(value.size()) - value.size()});
    }
    void add(std::uint16_t type, std::uint32_t value) noexcept { add(type, bytes_of(value)); }
    void end() noexcept {
        const auto length = static_cast<std::uint32_t>(text_.size() - start_);
        if (!text_.failed())
            std::memcpy(const_cast<char*>(text_.data()) + start_, &length, sizeof(length));
    }
    [[nodiscard]] const Text& text() const noexcept { return text_; }

private:
    Text text_;
    std::size_t start_{};
    std::uint32_t sequence_;
    std::uint32_t port_;
};

std::uint8_t prefix_of(std::uint32_t mask) noexcept {
    std::uint8_t length = 0;
    for (; mask != 0; mask &= mask - 1)
        ++length;
    return length;
}
std::uint32_t mask_of(std::uint8_t length) noexcept {
    return length == 0 ? 0 : lwip_htonl(~std::uint32_t{0} << (32U - (length > 32 ? 32U : length)));
}

/// Stack held for all of the following.
void list_links(Reply& reply) noexcept {
    for (const netif* each = netif_list; each != nullptr; each = each->next) {
        const int index = index_of(*each);
        const bool loop = index == loopback_index;
        const bool up = netif_is_up(each);
        const std::uint32_t flags =
            (up ? 1U : 0U) | (loop ? 8U : 0x1002U) | (up && netif_is_link_up(each) ? 0x10040U : 0U);
        reply.begin(message::new_link, message::multi,
                    LinkMessage{0, 0, static_cast<std::uint16_t>(loop ? 772 : 1), index, flags, 0});
        const std::string_view name{name_of(*each)};
        reply.add(3, std::string_view{name.data(), name.size() + 1}); // IFLA_IFNAME, with its NUL
        reply.add(4, std::uint32_t{mtu_of(*each)});
        reply.add(13, 1000U); // IFLA_TXQLEN
        reply.add(1, std::string_view{reinterpret_cast<const char*>(each->hwaddr), 6});
        const std::uint8_t state = up ? 6 : 2;
        reply.add(16, bytes_of(state)); // IFLA_OPERSTATE
        reply.end();
    }
}

void list_addresses(Reply& reply) noexcept {
    for (const netif* each = netif_list; each != nullptr; each = each->next) {
        const std::uint32_t address = netif_ip4_addr(each)->addr;
        const std::uint32_t mask = netif_ip4_netmask(each)->addr;
        if (address == 0)
            continue;
        const int index = index_of(*each);
        const std::uint8_t scope = index == loopback_index ? 254 : 0;
        reply.begin(message::new_address, message::multi,
                    AddressMessage{af_inet, prefix_of(mask), 0x80, scope,
                                   static_cast<std::uint32_t>(index)});
        reply.add(1, address);
        reply.add(2, address);
        if (index != loopback_index)
            reply.add(4, address | ~mask);
        const std::string_view name{name_of(*each)};
        reply.add(3, std::string_view{name.data(), name.size() + 1});
        reply.end();
    }
}

void list_routes(Reply& reply) noexcept {
    Route route{};
    for (std::size_t i = 0; route_at(i, route); ++i) {
        if (route.interface == loopback_index)
            continue;
        const bool direct = route.gateway == 0;
        reply.begin(message::new_route, message::multi,
                    RouteMessage{af_inet, prefix_of(route.mask), 0, 0, 254,
                                 static_cast<std::uint8_t>(direct ? 2 : 3),
                                 static_cast<std::uint8_t>(direct ? 253 : 0), 1, 0});
        reply.add(15, 254U); // RTA_TABLE: main
        if (route.mask != 0)
            reply.add(1, route.destination);
        if (!direct)
            reply.add(5, route.gateway);
        reply.add(4, static_cast<std::uint32_t>(route.interface));
        if (route.metric != 0)
            reply.add(6, route.metric);
        if (direct)
            if (const netif* interface = find_netif(route.interface))
                reply.add(7, netif_ip4_addr(interface)->addr);
        reply.end();
    }
}

void list_neighbours(Reply& reply) noexcept {
    for (std::size_t i = 0; i < ARP_TABLE_SIZE; ++i) {
        ip4_addr_t* ip = nullptr;
        netif* interface = nullptr;
        eth_addr* hardware = nullptr;
        if (etharp_get_entry(i, &ip, &interface, &hardware) == 0)
            continue;
        constexpr std::uint16_t reachable = 2;
        reply.begin(message::new_neighbour, message::multi,
                    NeighbourMessage{af_inet, 0, 0, index_of(*interface), reachable, 0, 1});
        reply.add(1, ip->addr);
        reply.add(2, std::string_view{reinterpret_cast<const char*>(hardware), 6});
        reply.end();
    }
}

/// The attributes of a request that anybody asks for.
struct Request {
    const char* body;
    std::uint32_t address{}, local{}, gateway{}, interface {
    }, priority{}, mtu{};
    bool has_local{};
    char name[16]{};
};

Request parse(const char* body, std::size_t size, std::size_t fixed, std::uint16_t type) noexcept {
    Request out{body};
    const bool is_link = type == message::new_link || type == message::set_link;
    for (std::size_t at = align4(fixed); at + sizeof(Attribute) <= size;) {
        Attribute attribute;
        std::memcpy(&attribute, body + at, sizeof(attribute));
        if (attribute.length < sizeof(attribute) || at + attribute.length > size)
            break;
        const std::size_t length = attribute.length - sizeof(attribute);
        std::uint32_t word = 0;
        if (length >= sizeof(word))
            std::memcpy(&word, body + at + sizeof(attribute), sizeof(word));
        switch (attribute.type) {
        case 1:
            out.address = word;
            break;
        case 2:
            out.local = word;
            out.has_local = true;
            break;
        case 3:
            copy_text(out.name, {body + at + sizeof(attribute), length});
            break;
        case 4:
            (is_link ? out.mtu : out.interface) = word;
            break;
        case 5:
            out.gateway = word;
            break;
        case 6:
            out.priority = word;
            break;
        default:
            break;
        }
        at += align4(attribute.length);
    }
    return out;
}

Errno change_address(const Request& request, bool add) noexcept {
    AddressMessage body;
    std::memcpy(&body, request.body, sizeof(body));
    netif* interface = find_netif(static_cast<int>(body.index));
    if (interface == nullptr)
        return Errno::nodev;
    if (body.family != af_inet)
        return Errno::afnosupport;
    const std::uint32_t address = request.has_local ? request.local : request.address;
    if (!add && netif_ip4_addr(interface)->addr != address)
        return Errno::addrnotavail;
    const ip4_addr_t ip{add ? address : 0};
    const ip4_addr_t mask{add ? mask_of(body.prefix_length) : 0};
    const ip4_addr_t none{0};
    netif_set_addr(interface, &ip, &mask, &none);
    return Errno::ok;
}

Errno change_route(const Request& request, bool add) noexcept {
    RouteMessage body;
    std::memcpy(&body, request.body, sizeof(body));
    if (body.family != af_inet)
        return Errno::afnosupport;
    Route route{request.address, mask_of(body.destination_length), request.gateway,
                request.priority, static_cast<int>(request.interface)};
    route.destination &= route.mask;
    if (add && route.interface == 0) {
        Route towards{};
        if (route.gateway == 0 || !find_route(route.gateway, towards))
            return Errno::netunreach;
        route.interface = towards.interface;
    }
    return (add ? add_route(route) : remove_route(route)).error();
}

Errno change_link(const Request& request) noexcept {
    LinkMessage body;
    std::memcpy(&body, request.body, sizeof(body));
    netif* interface =
        body.index != 0 ? find_netif(body.index) : find_netif(std::string_view{request.name});
    if (interface == nullptr)
        return Errno::nodev;
    if ((body.change & 1U) != 0) {
        if ((body.flags & 1U) != 0)
            netif_set_up(interface);
        else
            netif_set_down(interface);
    }
    if (request.mtu != 0)
        set_mtu(*interface, static_cast<std::uint16_t>(request.mtu));
    return Errno::ok;
}

/// One answer that waits to be read; the bytes follow.
struct Answer {
    cero::ListLink link;
    std::size_t size;
    [[nodiscard]] char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

class NetlinkSocket final : public Socket {
public:
    explicit NetlinkSocket(int kind) noexcept
        : Socket{af_netlink, kind, 0}, port_{static_cast<std::uint32_t>(current_job().pid)} {}
    Status bind(const Address&) noexcept override { return {}; }
    Status connect(const Address&, bool) noexcept override { return {}; }
    Status local_address(Address& out) noexcept override {
        NetlinkAddress address;
        address.port = port_;
        out.set(address);
        return {};
    }
    Result<std::size_t> send(Message& message) noexcept override;
    Result<std::size_t> receive(Message& message) noexcept override;
    std::uint32_t poll(PollTable* table) noexcept override {
        if (table != nullptr)
            table->watch(queue_);
        return poll_event::writable | (answers_.empty() ? 0U : poll_event::readable);
    }
    void close() noexcept override {
        while (Answer* answer = answers_.pop_front())
            kfree(answer);
        delete this;
    }

private:
    ~NetlinkSocket() override = default;
    Status enqueue(const Text& text) noexcept;
    Status answer(const Header& header, const char* body, std::size_t size) noexcept;
    bool list(const Header& header, Reply& reply) noexcept;
    static Errno change(const Header& header, const char* body, std::size_t size) noexcept;

    PollQueue queue_;
    cero::IntrusiveList<Answer, &Answer::link> answers_;
    std::uint32_t port_;
};

Status NetlinkSocket::enqueue(const Text& text) noexcept {
    void* memory = text.failed() ? nullptr : kmalloc(sizeof(Answer) + text.size());
    if (memory == nullptr)
        return Errno::nobufs;
    auto* answer = new (memory) Answer{{}, text.size()};
    std::memcpy(answer->bytes(), text.data(), text.size());
    answers_.push_back(*answer);
    queue_.notify(poll_event::readable);
    return {};
}

bool NetlinkSocket::list(const Header& header, Reply& reply) noexcept {
    StackGuard guard;
    switch (header.type) {
    case message::get_link:
        list_links(reply);
        return true;
    case message::get_address:
        list_addresses(reply);
        return true;
    case message::get_route:
        list_routes(reply);
        return true;
    case message::get_neighbour:
        list_neighbours(reply);
        return true;
    default:
        return false;
    }
}

Errno NetlinkSocket::change(const Header& header, const char* body, std::size_t size) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    std::size_t fixed = sizeof(LinkMessage);
    if (header.type == message::new_address || header.type == message::del_address)
        fixed = sizeof(AddressMessage);
    if (header.type == message::new_route || header.type == message::del_route)
        fixed = sizeof(RouteMessage);
    if (size < fixed)
        return Errno::inval;
    const Request request = parse(body, size, fixed, header.type);
    StackGuard guard;
    switch (header.type) {
    case message::new_address:
    case message::del_address:
        return change_address(request, header.type == message::new_address);
    case message::new_route:
    case message::del_route:
        return change_route(request, header.type == message::new_route);
    case message::new_link:
    case message::set_link:
        return change_link(request);
    default:
        return Errno::opnotsupp;
    }
}

Status NetlinkSocket::answer(const Header& header, const char* body, std::size_t size) noexcept {
    Reply reply{header.sequence, port_};
    if (list(header, reply)) {
        if ((header.flags & (message::root | message::match)) != 0) {
            reply.begin(message::done, message::multi, std::uint32_t{0});
            reply.end();
        }
        return enqueue(reply.text());
    }
    const Errno outcome = change(header, body, size);
    if (outcome == Errno::ok && (header.flags & message::ack) == 0)
        return {};
    struct {
        std::int32_t code;
        Header header;
    } result{-static_cast<std::int32_t>(outcome), header};
    reply.begin(message::error, 0, result);
    reply.end();
    return enqueue(reply.text());
}

Result<std::size_t> NetlinkSocket::send(Message& message) noexcept {
    char bytes[1024];
    const std::size_t size = message.data.remaining();
    if (size > sizeof(bytes))
        return Errno::msgsize;
    TRY(message.data.get(bytes, size));
    for (std::size_t at = 0; at + sizeof(Header) <= size;) {
        Header header;
        std::memcpy(&header, bytes + at, sizeof(header));
        if (header.length < sizeof(header) || header.length > size - at)
            return Errno::inval;
        TRY(answer(header, bytes + at + sizeof(header), header.length - sizeof(header)));
        at += align4(header.length);
    }
    return size;
}

Result<std::size_t> NetlinkSocket::receive(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    const bool peek = (message.flags & message_flag::peek) != 0;
    TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout,
                   [&] { return !answers_.empty(); }));
    Answer* answer = answers_.front();
    const std::size_t whole = answer->size;
    const std::size_t count = TRY(message.data.put(answer->bytes(), whole));
    if (message.address != nullptr)
        message.address->set(NetlinkAddress{});
    if (count < whole)
        message.out_flags |= message_flag::trunc;
    if (!peek) {
        answers_.remove(*answer);
        kfree(answer);
    }
    return (message.flags & message_flag::trunc) != 0 ? whole : count;
}

} // namespace

Result<Socket*> make_netlink_socket(int type, int protocol) noexcept {
    if (protocol != 0)
        return Errno::protonosupport;
    if (type != sock_raw && type != sock_dgram)
        return Errno::prototype;
    auto* socket = new (std::nothrow) NetlinkSocket{type};
    if (socket == nullptr)
        return Errno::nomem;
    return static_cast<Socket*>(socket);
}

} // namespace kernel::net
