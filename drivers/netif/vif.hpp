// SPDX-License-Identifier: BSD-2-Clause
// Vif: a guest's network interface as a device that the switch sends to and receives from.
#pragma once

#include "vif_queue.hpp"

#include <kernel/log_limiter.hpp>

namespace drivers::netif {

/// transmit() is towards the guest: packets of one flow stay on one queue, and so in order.
class Vif final : public NetDevice {
public:
    static constexpr unsigned max_queues = 4;

    explicit Vif(kernel::DomainId domain) noexcept : domain_{domain} {}
    ~Vif() override { disconnect(); }

    void name_after(kernel::DomainId domain, std::uint64_t handle);

    /// `count` of the guest's queues, 1 to max_queues.
    Status connect(const QueueOffer* offers, unsigned count, const NetFeatures& guest_takes);
    /// What came before the handlers were there.
    void kick() noexcept;
    void disconnect() noexcept;

    void transmit(PacketList& packets) noexcept override;

private:
    friend class VifQueue;
    NetStatistics& counters() noexcept { return statistics_; }
    /// From the guest.
    void take(PacketList& packets) noexcept { deliver(packets); }
    /// The guest broke the protocol on one of its queues: all of them are ignored.
    void give_up(const char* why) noexcept;

    kernel::DomainId domain_;
    bool ignored_{};
    kernel::LogLimiter lines_;
    unsigned queue_count_{};
    VifQueue* queues_[max_queues]{};
};

} // namespace drivers::netif
