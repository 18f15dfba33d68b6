// SPDX-License-Identifier: BSD-2-Clause
// PacketSlots: collects the slots of one packet that a guest transmits, and checks them. Pure
// logic.
#pragma once

#include <cero/abi/io/net.h>
#include <cero/driver/net.hpp>

namespace drivers::netif {

/// More slots than a guest may assume are still taken apart (and the packet dropped); beyond that
/// the guest is out of its mind.
inline constexpr unsigned max_slots = CERO_NETIF_NR_SLOTS_MIN;
inline constexpr unsigned fatal_slots = 32;
inline constexpr unsigned max_extras = 4;
/// Each may have to become a packet of its own here, a page large.
inline constexpr unsigned max_segments = 256;

class PacketSlots {
public:
    enum class State : std::uint8_t {
        more,  ///< give the next slot
        good,  ///< a whole, valid packet
        bad,   ///< a whole packet that must be answered with an error
        fatal, ///< the ring makes no sense any more
    };

    void restart() noexcept { *this = PacketSlots{}; }
    /// Takes the private copy of the next slot.
    State add(const cero_netif_tx_entry& entry) noexcept;

    struct Slot {
        cero_grant_ref gref;
        std::uint16_t offset;
        std::uint16_t size;
    };
    [[nodiscard]] unsigned slot_count() const noexcept { return slot_count_; }
    [[nodiscard]] const Slot& slot(unsigned index) const noexcept { return slots_[index]; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint16_t flags() const noexcept { return flags_; }
    [[nodiscard]] Gso gso() const noexcept { return gso_; }
    [[nodiscard]] std::uint16_t gso_size() const noexcept { return gso_size_; }
    /// Every ring slot that the packet used, in order: what to answer.
    struct Answer {
        std::uint16_t id;
        bool is_extra;
    };
    [[nodiscard]] unsigned answer_count() const noexcept { return answer_count_; }
    [[nodiscard]] const Answer& answer(unsigned index) const noexcept { return answers_[index]; }

private:
    State add_extra(const cero_netif_tx_entry& entry) noexcept;
    [[nodiscard]] State finish() noexcept;

    Slot slots_[max_slots]{};
    Answer answers_[fatal_slots + max_extras]{};
    unsigned slot_count_{};
    unsigned answer_count_{};
    unsigned extra_count_{};
    std::size_t size_{};
    std::size_t rest_{}; ///< sum of the sizes after the first slot
    std::uint16_t flags_{};
    bool expect_extra_{};
    bool more_data_{};
    bool bad_{};
    Gso gso_{Gso::none};
    std::uint16_t gso_size_{};
};

} // namespace drivers::netif
