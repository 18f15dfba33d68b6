// SPDX-License-Identifier: BSD-2-Clause
// Switch: a learning Ethernet switch between NICs (uplinks), guests' interfaces and the host's own
// port.
#pragma once

#include "table.hpp"

#include <cero/driver/net.hpp>
#include <kernel/log_limiter.hpp>
#include <kernel/sync.hpp>

namespace drivers {

enum class PortKind : std::uint8_t { uplink, guest, host };

class Switch;

/// One port. Lives in the object that it connects; takes what its device receives to the switch.
class SwitchPort final : public NetReceiver {
public:
    SwitchPort() noexcept = default;
    ~SwitchPort() { disconnect(); }
    void receive(PacketList& packets) noexcept override;
    void disconnect() noexcept;
    [[nodiscard]] bool is_connected() const noexcept { return owner_ != nullptr; }
    /// Frames dropped because their source address belongs to another port.
    [[nodiscard]] std::uint64_t forged() const noexcept { return forged_; }

private:
    friend class Switch;
    Switch* owner_{};
    NetDevice* device_{};
    ForwardingTable::Port number_{};
    PortKind kind_{};
    std::uint64_t forged_{};
    kernel::LogLimiter lines_;
    PacketList outgoing_; ///< collected during one batch
    bool touched_{};
};

/// Locking: one spinlock, held for a whole batch, while the devices' transmit() is called; so a
/// device must not hold a lock of its own when it delivers packets. A full port drops its packets
/// and delays nobody.
class Switch {
public:
    static constexpr unsigned max_ports = 128;
    static constexpr unsigned guest_quota = 64; ///< addresses that one guest may occupy

    explicit constexpr Switch(const char* name) noexcept : name_{name} {}
    /// The switch of that name, or null.
    [[nodiscard]] static Switch* find(const char* name) noexcept;
    [[nodiscard]] const char* name() const noexcept { return name_; }

    /// Connects a device through `port`; nospc when all ports are taken.
    [[nodiscard]] Status connect(SwitchPort& port, NetDevice& device, PortKind kind) noexcept;
    /// Frames from `mac` are taken from a connected `port` only, until it is disconnected or given
    /// another address.
    void assign(SwitchPort& port, const MacAddress& mac) noexcept;

private:
    friend class SwitchPort;
    void disconnect(SwitchPort& port) noexcept;
    void forward(SwitchPort& from, PacketList& packets) noexcept;
    void forward_one(SwitchPort& from, PacketBuffer& packet, std::uint64_t now) noexcept;
    void send_to(SwitchPort& to, PacketBuffer& packet) noexcept;
    void flood(const SwitchPort& from, PacketBuffer& packet) noexcept;

    const char* name_;
    kernel::Spinlock lock_;
    SwitchPort* ports_[max_ports]{};
    unsigned touched_count_{};
    SwitchPort* touched_[max_ports]{};
    ForwardingTable table_;
};

} // namespace drivers
