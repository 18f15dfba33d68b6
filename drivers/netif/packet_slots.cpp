// SPDX-License-Identifier: BSD-2-Clause
// Slots of a transmitted packet: order, sizes, extra information.
#include "packet_slots.hpp"

#include <cstring>

namespace drivers::netif {

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t ethernet_header = 14;

} // namespace

PacketSlots::State PacketSlots::add(const cero_netif_tx_entry& entry) noexcept {
    if (expect_extra_)
        return add_extra(entry);
    const cero_netif_tx_request& request = entry.request;
    if (answer_count_ == fatal_slots)
        return State::fatal;
    answers_[answer_count_++] = {request.id, false};
    if (slot_count_ == 0 && answer_count_ == 1) {
        flags_ = request.flags;
        size_ = request.size;
        expect_extra_ = (request.flags & CERO_NETTXF_extra_info) != 0;
    } else {
        rest_ += request.size;
    }
    more_data_ = (request.flags & CERO_NETTXF_more_data) != 0;
    if (slot_count_ == max_slots)
        bad_ = true;
    else
        slots_[slot_count_++] = {request.gref, request.offset, request.size};
    return expect_extra_ || more_data_ ? State::more : finish();
}

PacketSlots::State PacketSlots::add_extra(const cero_netif_tx_entry& entry) noexcept {
    cero_netif_extra_info extra;
    std::memcpy(&extra, &entry, sizeof extra);
    if (++extra_count_ > max_extras || answer_count_ == fatal_slots)
        return State::fatal;
    answers_[answer_count_++] = {0, true};
    if (extra.type == CERO_NETIF_EXTRA_TYPE_GSO) {
        if (extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV4)
            gso_ = Gso::tcp4;
        else if (extra.u.gso.type == CERO_NETIF_GSO_TYPE_TCPV6)
            gso_ = Gso::tcp6;
        else
            bad_ = true;
        gso_size_ = extra.u.gso.size;
        bad_ |= gso_size_ == 0 || size_ / gso_size_ > max_segments;
    }
    expect_extra_ = (extra.flags & CERO_NETIF_EXTRA_FLAG_MORE) != 0;
    return expect_extra_ || more_data_ ? State::more : finish();
}

PacketSlots::State PacketSlots::finish() noexcept {
    if (bad_ || size_ < ethernet_header || rest_ >= size_)
        return State::bad;
    slots_[0].size = static_cast<std::uint16_t>(size_ - rest_);
    for (unsigned i = 0; i < slot_count_; ++i)
        if (slots_[i].size == 0 || slots_[i].offset + std::size_t{slots_[i].size} > page_size)
            return State::bad;
    return State::good;
}

} // namespace drivers::netif
