// SPDX-License-Identifier: BSD-2-Clause
// EventTable: the event channels of one domain (2-level ABI, 4096 ports), memory on demand.
#pragma once

#include <cero/abi/event.h>
#include <core/lock.hpp>
#include <core/types.hpp>

namespace cero {

/// Values as in CERO_EVTCHNSTAT_*.
enum class ChannelState : std::uint8_t { closed, unbound, interdomain, pirq, virq, ipi };

/// One port's state. Protected by the lock of its table; an interdomain pair changes only under the
/// locks of both tables, so holding one of them keeps the peer alive.
struct EventChannel {
    ChannelState state{ChannelState::closed};
    std::uint8_t pad{};
    std::uint16_t vcpu{};   ///< who is told
    std::uint32_t number{}; ///< remote port, VIRQ or PIRQ by state
    union {
        Domain* remote;          ///< interdomain
        std::uint64_t remote_id; ///< unbound: who may bind
    };
    constexpr EventChannel() noexcept : remote{nullptr} {}
};
static_assert(sizeof(EventChannel) == 16);

inline constexpr unsigned channels_per_page = page_size / sizeof(EventChannel);
inline constexpr unsigned channel_pages = CERO_EVTCHN_2L_PORTS / channels_per_page;

struct EventTable {
    Spinlock<LockRank::event> lock;
    std::uint32_t limit{CERO_EVTCHN_2L_PORTS}; ///< ports below this number may be used
    std::uint32_t in_use{};
    std::uint32_t search_from{1}; ///< ports below are open
    std::uint32_t close_from{1};  ///< where a close of all ports goes on after a preemption
    EventChannel* pages[channel_pages]{};

    /// The channel of a port that has memory, else null. Lock held, or the caller tolerates change.
    [[nodiscard]] EventChannel* find(EventPort port) const noexcept {
        const std::uint32_t n = port.raw();
        if (n == 0 || n >= limit || pages[n / channels_per_page] == nullptr) [[unlikely]]
            return nullptr;
        return &pages[n / channels_per_page][n % channels_per_page];
    }
};

} // namespace cero
