// SPDX-License-Identifier: BSD-2-Clause
// Routes: the table behind SIOCADDRT, and the answers to lwIP's questions. Longest prefix wins.
#include "stack.hpp"

#include <lwip/ip4_addr.h>

#include "lwip/hooks.h"

namespace kernel::net {

namespace {

constexpr std::size_t max_routes = 64;
Route table[max_routes];
std::size_t route_count;

bool is_usable(const netif& interface) noexcept {
    return netif_is_up(&interface) && netif_is_link_up(&interface);
}

int prefix_length(std::uint32_t mask) noexcept {
    int length = 0;
    for (; mask != 0; mask &= mask - 1)
        ++length;
    return length;
}

} // namespace

Status add_route(const Route& route) noexcept {
    for (std::size_t i = 0; i < route_count; ++i)
        if (table[i].destination == route.destination && table[i].mask == route.mask &&
            table[i].gateway == route.gateway && table[i].interface == route.interface)
            return Errno::exist;
    if (route_count == max_routes)
        return Errno::nobufs;
    table[route_count++] = route;
    return {};
}

Status remove_route(const Route& route) noexcept {
    for (std::size_t i = 0; i < route_count; ++i) {
        const Route& each = table[i];
        if (each.destination != route.destination || each.mask != route.mask ||
            (route.gateway != 0 && each.gateway != route.gateway) ||
            (route.interface != 0 && each.interface != route.interface))
            continue;
        for (std::size_t j = i + 1; j < route_count; ++j)
            table[j - 1] = table[j];
        --route_count;
        return {};
    }
    return Errno::srch;
}

void drop_routes(int interface) noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < route_count; ++i)
        if (table[i].interface != interface)
            table[kept++] = table[i];
    route_count = kept;
}

bool route_at(std::size_t index, Route& out) noexcept {
    for (const netif* each = netif_list; each != nullptr;
         each = each->next) { // those of the addresses first
        if (!netif_is_up(each) || netif_ip4_addr(each)->addr == 0 ||
            netif_ip4_netmask(each)->addr == ~0U)
            continue;
        if (index-- != 0)
            continue;
        const std::uint32_t mask = netif_ip4_netmask(each)->addr;
        out = {netif_ip4_addr(each)->addr & mask, mask, 0, 0, index_of(*each)};
        return true;
    }
    if (index >= route_count)
        return false;
    out = table[index];
    return true;
}

bool find_route(std::uint32_t destination, Route& out) noexcept {
    int best = -1;
    Route each{};
    for (std::size_t i = 0; route_at(i, each); ++i) {
        if (((destination ^ each.destination) & each.mask) != 0)
            continue;
        const netif* interface = find_netif(each.interface);
        if (interface == nullptr || !is_usable(*interface))
            continue;
        const int length = prefix_length(each.mask);
        if (length > best || (length == best && each.metric < out.metric)) {
            best = length;
            out = each;
        }
    }
    return best >= 0;
}

} // namespace kernel::net

extern "C" {

struct netif* cero_net_route(const ip4_addr_t*, const ip4_addr_t* destination) {
    kernel::net::Route route{};
    // Own addresses loop back (lwIP asks for the interface first and compares later).
    for (struct netif* each = netif_list; each != nullptr; each = each->next)
        if (netif_is_up(each) && netif_ip4_addr(each)->addr == destination->addr &&
            destination->addr != 0)
            return each;
    if (kernel::net::find_route(destination->addr, route))
        return kernel::net::find_netif(route.interface);
    return nullptr;
}

const ip4_addr_t* cero_net_gateway(struct netif* netif, const ip4_addr_t* destination) {
    static ip4_addr_t gateway;
    kernel::net::Route route{};
    if (!kernel::net::find_route(destination->addr, route) || route.gateway == 0 ||
        route.interface != kernel::net::index_of(*netif))
        return destination;
    gateway.addr = route.gateway;
    return &gateway;
}

} // extern "C"
