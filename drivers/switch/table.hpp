// SPDX-License-Identifier: BSD-2-Clause
// ForwardingTable: which port a MAC address was last seen on. Fixed size; entries age; one port
// cannot fill it.
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

    /// The address sends from `port`. `quota` bounds the entries that the port may hold (0: no
    /// bound).
    void learn(const MacAddress& mac, Port port, std::uint64_t now, unsigned quota) noexcept;
    /// no_port when unknown or too old.
    [[nodiscard]] Port lookup(const MacAddress& mac, std::uint64_t now) const noexcept;
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
    void set_port(Entry& entry, Port port) noexcept;
    Entry entries_[buckets][ways]{};
    std::uint16_t counts_[max_ports]{};
};

} // namespace drivers
