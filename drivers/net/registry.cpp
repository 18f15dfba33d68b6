// SPDX-License-Identifier: BSD-2-Clause
// The interfaces that the host's IP stack uses, and the common parts of NetDevice.
#include <cero/driver/net.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>

#include <cstring>

namespace drivers {

/// Private face of the registry; thread context, one mutex.
struct NetRegistryState {
    using Devices = IntrusiveList<NetDevice, &NetDevice::registry_link_>;
    static constinit kernel::Mutex lock;
    static constinit Devices devices;
    static constinit IntrusiveList<NetListener, &NetListener::link> listeners;
};

constinit kernel::Mutex NetRegistryState::lock;
constinit NetRegistryState::Devices NetRegistryState::devices;
constinit IntrusiveList<NetListener, &NetListener::link> NetRegistryState::listeners;

using State = NetRegistryState;

void NetDevice::set_name(const char* name) noexcept {
    std::size_t i = 0;
    for (; i + 1 < name_size && name[i] != '\0'; ++i)
        name_[i] = name[i];
    name_[i] = '\0';
}

void NetDevice::deliver(PacketList& packets) noexcept {
    if (packets.empty())
        return;
    if (receiver_ != nullptr)
        receiver_->receive(packets);
    while (PacketBuffer* packet = packets.pop_front()) {
        ++statistics_.rx_dropped;
        packet->release();
    }
}

Status NetRegistry::add(NetDevice& device) {
    {
        kernel::MutexGuard guard{State::lock};
        if (find(device.name()) != nullptr)
            return Errno::exist;
        State::devices.push_back(device);
    }
    for (NetListener& listener : State::listeners)
        listener.net_added(device);
    return {};
}

void NetRegistry::remove(NetDevice& device) {
    {
        kernel::MutexGuard guard{State::lock};
        if (!device.registry_link_.is_linked())
            return;
        State::Devices::remove(device);
    }
    for (NetListener& listener : State::listeners)
        listener.net_removed(device);
    device.set_receiver(nullptr);
}

NetDevice* NetRegistry::find(const char* name) noexcept {
    for (NetDevice& device : State::devices)
        if (std::strcmp(device.name(), name) == 0)
            return &device;
    return nullptr;
}

NetDevice* NetRegistry::at(std::size_t index) noexcept {
    for (NetDevice& device : State::devices)
        if (index-- == 0)
            return &device;
    return nullptr;
}

namespace {
void (*nic_taker)(NetDevice&) = nullptr;
}

void announce_nic(NetDevice& nic) {
    if (nic_taker != nullptr)
        nic_taker(nic);
    else if (!NetRegistry::add(nic))
        kernel::printk(kernel::Level::error, "%s: the name is taken\n", nic.name());
}

void set_nic_taker(void (*take)(NetDevice& nic)) noexcept {
    nic_taker = take;
}

void NetRegistry::listen(NetListener& listener) {
    State::listeners.push_back(listener);
    for (NetDevice& device : State::devices)
        listener.net_added(device);
}

} // namespace drivers
