// SPDX-License-Identifier: BSD-2-Clause
// PacketQueue: a bounded queue of packets that a ring has no room for yet.
#pragma once

#include <cero/driver/net.hpp>

namespace drivers {

/// The owner serialises all calls. Drops nothing by itself except in clear().
class PacketQueue {
public:
    explicit constexpr PacketQueue(unsigned limit) noexcept : limit_{limit} {}
    ~PacketQueue() { clear(); }
    [[nodiscard]] bool empty() const noexcept { return packets_.empty(); }
    [[nodiscard]] unsigned size() const noexcept { return count_; }
    [[nodiscard]] PacketBuffer* front() noexcept { return packets_.front(); }
    /// False when full: the packet stays the caller's.
    [[nodiscard]] bool push(PacketBuffer& packet) noexcept {
        if (count_ == limit_)
            return false;
        packets_.push_back(packet);
        ++count_;
        return true;
    }
    PacketBuffer* pop() noexcept {
        PacketBuffer* packet = packets_.pop_front();
        count_ -= packet != nullptr ? 1 : 0;
        return packet;
    }
    void clear() noexcept {
        while (PacketBuffer* packet = pop())
            packet->release();
    }

private:
    PacketList packets_;
    unsigned count_{};
    unsigned limit_;
};

} // namespace drivers
