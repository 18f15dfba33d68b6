// SPDX-License-Identifier: BSD-2-Clause
// ForwardingTable: which port a MAC address was last seen on. Fixed size; entries age; one port
// cannot fill it, nor take an address from another.
#pragma once

#include <cero/driver/net.hpp>

#include <cstdint>

namespace drivers {

/// Pure data structure: no clock, no lock of its own.
class ForwardingTable {
public:
    using Port = std::uint16_t;
    static constexpr Port no_port = 0xffff;
    static constexpr unsigned buckets = 256;
    static constexpr unsigned ways = 4;
    static constexpr unsigned max_ports = 256;
    static constexpr std::uint64_t max_age = 300; ///< in units of `now`, seconds

    /// The address sends from `port`. `quota` bounds the entries that the port may hold; 0 is for
    /// ports that are trusted: no bound, and what others have learnt moves here. False: the address
    /// belongs to another port, so the frame is forged or has gone round in a circle.
    [[nodiscard]] bool learn(const MacAddress& mac, Port port, std::uint64_t now,
                             unsigned quota) noexcept;
    /// Gives `port` an address that no port without it may use, also while it is silent. One per
    /// port, the latest counts. Several ports may have the same one: it moves between them.
    void assign(const MacAddress& mac, Port port) noexcept;
    /// no_port when unknown or too old, and not assigned to one port.
    [[nodiscard]] Port lookup(const MacAddress& mac, std::uint64_t now) const noexcept;
    /// Learnt and assigned addresses.
    void forget_port(Port port) noexcept;
    [[nodiscard]] unsigned entries_of(Port port) const noexcept {
        return counts_[port % max_ports];
    }

private:
    struct Entry {
        MacAddress mac{};
        Port port{no_port};
        std::uint64_t seen{};
    };
    [[nodiscard]] static unsigned bucket_of(const MacAddress& mac) noexcept;
    [[nodiscard]] static std::uint64_t number_of(const MacAddress& mac) noexcept;
    void set_port(Entry& entry, Port port) noexcept;
    [[nodiscard]] bool is_of_others(const MacAddress& mac, Port port) const noexcept;
    [[nodiscard]] Port only_assignee(const MacAddress& mac) const noexcept;
    Entry entries_[buckets][ways]{};
    std::uint16_t counts_[max_ports]{};
    std::uint64_t assigned_[max_ports]{}; ///< number_of() each port's own; 0: none
    unsigned assigned_end_{};             ///< above the last port that has one
};

} // namespace drivers
