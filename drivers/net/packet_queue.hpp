// SPDX-License-Identifier: BSD-2-Clause
// PacketQueue: a bounded queue of packets that a ring has no room for yet.
#pragma once

#include <cero/driver/net.hpp>

namespace drivers {

/// The limit is one of pages: a packet may be 64 KiB long. The owner serialises all calls. Drops
/// nothing by itself except in clear().
class PacketQueue {
public:
    explicit constexpr PacketQueue(unsigned limit) noexcept : limit_{limit} {}
    ~PacketQueue() { clear(); }
    [[nodiscard]] bool empty() const noexcept { return packets_.empty(); }
    [[nodiscard]] PacketBuffer* front() noexcept { return packets_.front(); }
    /// False when full: the packet stays the caller's.
    [[nodiscard]] bool push(PacketBuffer& packet) noexcept {
        if (pages_ != 0 && pages_ + packet.pages() > limit_)
            return false;
        packets_.push_back(packet);
        pages_ += packet.pages();
        return true;
    }
    PacketBuffer* pop() noexcept {
        PacketBuffer* packet = packets_.pop_front();
        pages_ -= packet != nullptr ? packet->pages() : 0;
        return packet;
    }
    void clear() noexcept {
        while (PacketBuffer* packet = pop())
            packet->release();
    }

private:
    PacketList packets_;
    unsigned pages_{};
    unsigned limit_;
};

} // namespace drivers
