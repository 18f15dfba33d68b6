// SPDX-License-Identifier: BSD-2-Clause
// The queues of a guest's network interface, together one device.
#include "vif.hpp"

#include <cero/lib/format.hpp>
#include <kernel/log.hpp>

#include <new>

namespace drivers::netif {

void Vif::name_after(kernel::DomainId domain, std::uint64_t handle) {
    char text[name_size];
    cero::format_to(text, sizeof text, "vif%u.%llu", domain,
                    static_cast<unsigned long long>(handle));
    set_name(text);
}

Status Vif::connect(const QueueOffer* offers, unsigned count, const NetFeatures& guest_takes) {
    if (count == 0 || count > max_queues)
        return Errno::inval;
    for (; queue_count_ < count; ++queue_count_) {
        queues_[queue_count_] = new (std::nothrow) VifQueue{*this, domain_};
        if (queues_[queue_count_] == nullptr)
            return Errno::nomem;
    }
    features_ = guest_takes;
    ignored_ = false;
    for (unsigned i = 0; i < count; ++i)
        TRY(queues_[i]->connect(offers[i]));
    if (ignored_) // by a queue that was connected before the others
        for (unsigned i = 0; i < count; ++i)
            queues_[i]->ignore();
    set_link(true);
    return {};
}

void Vif::kick() noexcept {
    for (unsigned i = 0; i < queue_count_; ++i)
        queues_[i]->kick();
}

void Vif::disconnect() noexcept {
    link_up_ = false;
    for (unsigned i = 0; i < queue_count_; ++i)
        queues_[i]->disconnect();
    while (queue_count_ != 0)
        delete queues_[--queue_count_];
}

void Vif::transmit(PacketList& packets) noexcept {
    if (queue_count_ == 1)
        return queues_[0]->transmit(packets);
    PacketList parts[max_queues];
    while (PacketBuffer* packet = packets.pop_front()) {
        if (queue_count_ == 0) {
            ++statistics_.tx_dropped;
            packet->release();
            continue;
        }
        parts[flow_hash(*packet) % queue_count_].push_back(*packet);
    }
    for (unsigned i = 0; i < queue_count_; ++i)
        if (!parts[i].empty())
            queues_[i]->transmit(parts[i]);
}

void Vif::give_up(const char* why) noexcept {
    if (!ignored_)
        kernel::printk_limited(lines_, kernel::Level::error,
                               "netback: %s: %s; the guest is ignored\n", name(), why);
    ignored_ = true;
    for (unsigned i = 0; i < queue_count_; ++i)
        queues_[i]->ignore();
}

} // namespace drivers::netif
