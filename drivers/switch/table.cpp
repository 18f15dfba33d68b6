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

void ForwardingTable::learn(const MacAddress& mac, Port port, std::uint64_t now,
                            unsigned quota) noexcept {
    if (mac.is_multicast())
        return;
    Entry* const set = entries_[bucket_of(mac)];
    Entry* victim = nullptr;
    for (unsigned i = 0; i < ways; ++i) {
        Entry& entry = set[i];
        if (entry.port != no_port && entry.mac == mac) {
            if (entry.port != port)
                set_port(entry, port);
            entry.seen = now;
            return;
        }
        // Prefer a free entry, then an aged one, then the port's own, then the oldest.
        if (entry.port == no_port) {
            if (victim == nullptr || victim->port != no_port)
                victim = &entry;
        } else if (victim == nullptr || (victim->port != no_port && entry.seen < victim->seen)) {
            victim = &entry;
        }
    }
    const bool over_quota = quota != 0 && counts_[port % max_ports] >= quota;
    const bool takes_from_other =
        victim->port != no_port && victim->port != port && now - victim->seen <= max_age;
    // A port at its quota learns nothing new; and a bounded port evicts no live entry of another.
    if (over_quota || (quota != 0 && takes_from_other))
        return;
    victim->mac = mac;
    victim->seen = now;
    set_port(*victim, port);
}

ForwardingTable::Port ForwardingTable::lookup(const MacAddress& mac,
                                              std::uint64_t now) const noexcept {
    const Entry* const set = entries_[bucket_of(mac)];
    for (unsigned i = 0; i < ways; ++i)
        if (set[i].port != no_port && set[i].mac == mac)
            return now - set[i].seen <= max_age ? set[i].port : no_port;
    return no_port;
}

void ForwardingTable::forget_port(Port port) noexcept {
    for (auto& set : entries_)
        for (Entry& entry : set)
            if (entry.port == port)
                set_port(entry, no_port);
}

} // namespace drivers
