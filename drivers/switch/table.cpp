// SPDX-License-Identifier: BSD-2-Clause
// Forwarding table of the switch: a four-way set-associative cache of MAC addresses.
#include "table.hpp"

namespace drivers {

unsigned ForwardingTable::bucket_of(const MacAddress& mac) noexcept {
    std::uint32_t hash = 2166136261u;
    for (const std::uint8_t byte : mac.byte)
        hash = (hash ^ byte) * 16777619u;
    return (hash ^ hash >> 15) % buckets;
}

void ForwardingTable::set_port(Entry& entry, Port port) noexcept {
    if (entry.port != no_port)
        --counts_[entry.port % max_ports];
    entry.port = port;
    if (port != no_port)
        ++counts_[port % max_ports];
}

std::uint64_t ForwardingTable::number_of(const MacAddress& mac) noexcept {
    std::uint64_t number = 0;
    for (const std::uint8_t byte : mac.byte)
        number = number << 8 | byte;
    return number;
}

void ForwardingTable::assign(const MacAddress& mac, Port port) noexcept {
    Entry* const set = entries_[bucket_of(mac)];
    for (unsigned i = 0; i < ways; ++i)
        if (set[i].port != no_port && set[i].mac == mac && set[i].port != port)
            set_port(set[i], no_port); // who used it before it was given to this port
    assigned_[port % max_ports] = number_of(mac);
    if (port % max_ports >= assigned_end_)
        assigned_end_ = port % max_ports + 1;
}

bool ForwardingTable::is_of_others(const MacAddress& mac, Port port) const noexcept {
    const std::uint64_t number = number_of(mac);
    if (assigned_[port % max_ports] == number)
        return false;
    for (unsigned i = 0; i < assigned_end_; ++i)
        if (assigned_[i] == number && number != 0)
            return true;
    return false;
}

ForwardingTable::Port ForwardingTable::only_assignee(const MacAddress& mac) const noexcept {
    const std::uint64_t number = number_of(mac);
    Port found = no_port;
    for (unsigned i = 0; i < assigned_end_; ++i)
        if (assigned_[i] == number && number != 0) {
            if (found != no_port)
                return no_port;
            found = static_cast<Port>(i);
        }
    return found;
}

bool ForwardingTable::learn(const MacAddress& mac, Port port, std::uint64_t now,
                            unsigned quota) noexcept {
    if (mac.is_multicast())
        return true;
    if (is_of_others(mac, port))
        return false;
    const bool is_assigned = assigned_[port % max_ports] == number_of(mac);
    const bool over_quota = quota != 0 && counts_[port % max_ports] >= quota && !is_assigned;
    Entry* const set = entries_[bucket_of(mac)];
    Entry* victim = nullptr;
    for (unsigned i = 0; i < ways; ++i) {
        Entry& entry = set[i];
        if (entry.port != no_port && entry.mac == mac) {
            if (entry.port != port) {
                // A bounded port takes no address that another still uses, except its own.
                if (quota != 0 && !is_assigned && now - entry.seen <= max_age)
                    return false;
                if (over_quota)
                    return true;
                set_port(entry, port);
            }
            entry.seen = now;
            return true;
        }
        // Prefer a free entry, then an aged one, then the port's own, then the oldest.
        if (entry.port == no_port) {
            if (victim == nullptr || victim->port != no_port)
                victim = &entry;
        } else if (victim == nullptr || (victim->port != no_port && entry.seen < victim->seen)) {
            victim = &entry;
        }
    }
    const bool takes_from_other =
        victim->port != no_port && victim->port != port && now - victim->seen <= max_age;
    // A port at its quota learns nothing new; and a bounded port evicts no live entry of another.
    if (over_quota || (quota != 0 && takes_from_other))
        return true;
    victim->mac = mac;
    victim->seen = now;
    set_port(*victim, port);
    return true;
}

ForwardingTable::Port ForwardingTable::lookup(const MacAddress& mac,
                                              std::uint64_t now) const noexcept {
    const Entry* const set = entries_[bucket_of(mac)];
    for (unsigned i = 0; i < ways; ++i)
        if (set[i].port != no_port && set[i].mac == mac && now - set[i].seen <= max_age)
            return set[i].port;
    return only_assignee(mac);
}

void ForwardingTable::forget_port(Port port) noexcept {
    for (auto& set : entries_)
        for (Entry& entry : set)
            if (entry.port == port)
                set_port(entry, no_port);
    assigned_[port % max_ports] = 0;
}

} // namespace drivers
