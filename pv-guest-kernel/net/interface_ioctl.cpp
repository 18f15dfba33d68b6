// SPDX-License-Identifier: BSD-2-Clause
// Interface ioctls, as ifconfig, route, arp and udhcpc use them.
#include "../fs/text.hpp"
#include "socket.hpp"
#include "stack.hpp"
#include <kernel/user_copy.hpp>

#include <lwip/etharp.h>

namespace kernel::net {

namespace {

namespace request {
enum : std::uint32_t {
    add_route = 0x890b,
    delete_route,
    get_name = 0x8910,
    get_config = 0x8912,
    get_flags,
    set_flags,
    get_address,
    set_address,
    get_peer,
    set_peer,
    get_broadcast,
    set_broadcast,
    get_netmask,
    set_netmask,
    get_metric,
    set_metric,
    get_mtu = 0x8921,
    set_mtu,
    set_hardware = 0x8924,
    get_hardware = 0x8927,
    get_index = 0x8933,
    get_queue_length = 0x8942,
    set_queue_length,
    delete_arp = 0x8953,
    get_arp,
    set_arp,
    get_map = 0x8970,
};
}

struct InterfaceRequest {
    InterfaceRequest() noexcept : bytes{} {}
    char name[16]{};
    union {
        InetAddress address;
        std::int32_t number;
        std::int16_t flags;
        char bytes[24];
    };
};
static_assert(sizeof(InterfaceRequest) == 40);

namespace interface_flag {
constexpr std::int16_t up = 1, broadcast = 2, loopback = 8, running = 0x40, multicast = 0x1000;
}

std::int16_t flags_of(const netif& interface) noexcept {
    std::int16_t flags =
        index_of(interface) == loopback_index
            ? interface_flag::loopback
            : static_cast<std::int16_t>(interface_flag::broadcast | interface_flag::multicast);
    if (netif_is_up(&interface))
        flags = static_cast<std::int16_t>(flags | interface_flag::up);
    if (netif_is_up(&interface) && netif_is_link_up(&interface))
        flags = static_cast<std::int16_t>(flags | interface_flag::running);
    return flags;
}

Status must_be_root() noexcept {
    return current_credentials().euid == 0 ? Status{} : Status{Errno::perm};
}

/// The mask that an address had before there were prefixes.
std::uint32_t class_mask(std::uint32_t address) noexcept {
    const std::uint32_t host = lwip_ntohl(address);
    if (host >> 31U == 0)
        return PP_HTONL(0xff000000U);
    return host >> 30U == 2 ? PP_HTONL(0xffff0000U) : PP_HTONL(0xffffff00U);
}

void set_addresses(netif& interface, std::uint32_t address, std::uint32_t mask) noexcept {
    const ip4_addr_t ip{address};
    const ip4_addr_t netmask{mask};
    const ip4_addr_t none{0};
    netif_set_addr(&interface, &ip, &netmask, &none);
}

void set_up(netif& interface, bool up) noexcept {
    if (up) {
        netif_set_up(&interface);
    } else {
        netif_set_down(&interface);
        drop_routes(index_of(interface));
    }
}

Result<std::int64_t> list_interfaces(std::uint64_t argument) noexcept {
    struct Config {
        std::int32_t length, pad;
        UserAddress out;
    };
    auto config = TRY(read_user<Config>(argument));
    std::int32_t used = 0;
    StackGuard guard;
    for (netif* each = netif_list; each != nullptr; each = each->next) {
        if (netif_ip4_addr(each)->addr == 0)
            continue;
        InterfaceRequest entry;
        copy_text(entry.name, name_of(*each));
        entry.address = InetAddress{};
        entry.address.address = netif_ip4_addr(each)->addr;
        if (config.out != 0) {
            if (used + static_cast<std::int32_t>(sizeof(entry)) > config.length)
                break;
            TRY(write_user(config.out + static_cast<std::uint32_t>(used), entry));
        }
        used += static_cast<std::int32_t>(sizeof(entry));
    }
    config.length = used;
    TRY(write_user(argument, config));
    return 0;
}

struct UserRoute {
    std::uint64_t pad1;
    InetAddress destination, gateway, mask;
    std::uint16_t flags;
    std::int16_t pad2;
    std::uint32_t pad3;
    std::uint64_t pad4;
    std::uint8_t tos, service_class;
    std::int16_t pad5[3];
    std::int16_t metric;
    std::int16_t pad6[3];
    UserAddress device;
    std::uint64_t mtu, window;
    std::uint16_t initial_rtt;
};

Result<std::int64_t> change_route(std::uint64_t argument, bool add) noexcept {
    constexpr std::uint16_t host_flag = 4;
    TRY(must_be_root());
    const auto user = TRY(read_user<UserRoute>(argument));
    Route route{user.destination.address, user.mask.address, user.gateway.address,
                user.metric > 0 ? static_cast<std::uint32_t>(user.metric - 1) : 0, 0};
    if ((user.flags & host_flag) != 0)
        route.mask = ~0U;
    route.destination &= route.mask;
    char device[16] = {};
    if (user.device != 0)
        TRY(copy_string_from_user(device, user.device, sizeof(device)));
    StackGuard guard;
    if (device[0] != 0) {
        const netif* interface = find_netif(std::string_view{device});
        if (interface == nullptr)
            return Errno::nodev;
        route.interface = index_of(*interface);
    } else if (add) {
        Route towards{};
        if (route.gateway == 0 || !find_route(route.gateway, towards))
            return Errno::netunreach;
        route.interface = towards.interface;
    }
    TRY(add ? net::add_route(route) : net::remove_route(route));
    return 0;
}

struct ArpRequest {
    InetAddress address;
    std::uint16_t hardware_family;
    std::uint8_t hardware[14];
    std::int32_t flags;
    InetAddress mask;
    char device[16];
};

Result<std::int64_t> arp_ioctl(std::uint32_t command, std::uint64_t argument) noexcept {
    auto entry = TRY(read_user<ArpRequest>(argument));
    const ip4_addr_t ip{entry.address.address};
    StackGuard guard;
    if (command == request::get_arp) {
        eth_addr* hardware = nullptr;
        const ip4_addr_t* found = nullptr;
        for (netif* each = netif_list; each != nullptr; each = each->next)
            if (etharp_find_addr(each, &ip, &hardware, &found) >= 0) {
                std::memcpy(entry.hardware, hardware, 6);
                entry.hardware_family = 1;
                entry.flags = 2;
                TRY(write_user(argument, entry));
                return 0;
            }
        return Errno::nxio;
    }
    TRY(must_be_root());
    if (command == request::delete_arp) {
        (void)etharp_remove_static_entry(&ip);
        return 0;
    }
    eth_addr hardware;
    std::memcpy(&hardware, entry.hardware, 6);
    const err_t status = etharp_add_static_entry(&ip, &hardware);
    if (status != ERR_OK)
        return errno_of_lwip(status);
    return 0;
}

/// Reading one property; stack held.
Status get_property(std::uint32_t command, const netif& interface, InterfaceRequest& out) noexcept {
    auto address = [&out](std::uint32_t value) {
        out.address = InetAddress{};
        out.address.address = value;
    };
    std::memset(out.bytes, 0, sizeof(out.bytes));
    const std::uint32_t own = netif_ip4_addr(&interface)->addr;
    switch (command) {
    case request::get_flags:
        out.flags = flags_of(interface);
        return {};
    case request::get_address:
    case request::get_peer:
        if (own == 0)
            return Errno::addrnotavail;
        address(own);
        return {};
    case request::get_broadcast:
        address(own == 0 ? 0 : own | ~netif_ip4_netmask(&interface)->addr);
        return {};
    case request::get_netmask:
        if (own == 0)
            return Errno::addrnotavail;
        address(netif_ip4_netmask(&interface)->addr);
        return {};
    case request::get_mtu:
        out.number = mtu_of(interface);
        return {};
    case request::get_hardware: {
        const std::uint16_t family = index_of(interface) == loopback_index ? 772 : 1;
        std::memcpy(out.bytes, &family, 2);
        std::memcpy(out.bytes + 2, interface.hwaddr, 6);
        return {};
    }
    case request::get_index:
        out.number = index_of(interface);
        return {};
    case request::get_queue_length:
        out.number = 1000;
        return {};
    case request::get_metric:
    case request::get_map:
        return {};
    default:
        return Errno::notty;
    }
}

Status set_property(std::uint32_t command, netif& interface, const InterfaceRequest& in) noexcept {
    TRY(must_be_root());
    switch (command) {
    case request::set_flags:
        set_up(interface, (in.flags & interface_flag::up) != 0);
        return {};
    case request::set_address: {
        const std::uint32_t address = in.address.address;
        set_addresses(interface, address, address == 0 ? 0 : class_mask(address));
        if (address != 0)
            set_up(interface, true);
        return {};
    }
    case request::set_netmask:
        set_addresses(interface, netif_ip4_addr(&interface)->addr, in.address.address);
        return {};
    case request::set_mtu:
        if (in.number < 68 || in.number > 65535)
            return Errno::inval;
        set_mtu(interface, static_cast<std::uint16_t>(in.number));
        return {};
    case request::set_broadcast:
    case request::set_peer:
    case request::set_metric:
    case request::set_queue_length:
        return {};
    case request::set_hardware:
        return Errno::opnotsupp;
    default:
        return Errno::notty;
    }
}

} // namespace

Result<std::int64_t> interface_ioctl(std::uint32_t command, std::uint64_t argument) noexcept {
    if (command < request::add_route || command > request::get_map)
        return Errno::notty;
    switch (command) {
    case request::add_route:
    case request::delete_route:
        return change_route(argument, command == request::add_route);
    case request::get_config:
        return list_interfaces(argument);
    case request::get_arp:
    case request::set_arp:
    case request::delete_arp:
        return arp_ioctl(command, argument);
    default:
        break;
    }
    auto user = TRY(read_user<InterfaceRequest>(argument));
    user.name[15] = 0;
    bool answer = true;
    {
        StackGuard guard;
        netif* interface = command == request::get_name ? find_netif(user.number)
                                                        : find_netif(std::string_view{user.name});
        if (interface == nullptr)
            return Errno::nodev;
        if (command == request::get_name) {
            copy_text(user.name, name_of(*interface));
        } else {
            auto got = get_property(command, *interface, user);
            if (got.error() == Errno::notty) {
                answer = false;
                // get_property() cleared the argument: take it again
                user = TRY(read_user<InterfaceRequest>(argument));
                TRY(set_property(command, *interface, user));
            } else if (!got) {
                return got.error();
            }
        }
    }
    if (answer)
        TRY(write_user(argument, user));
    return 0;
}

} // namespace kernel::net
