// SPDX-License-Identifier: BSD-2-Clause
// netback: connects a guest's network interface to the switch, by the handshake in XenStore.
#include "../switch/switch.hpp"
#include "../xenbus/backend.hpp"
#include "vif.hpp"

#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>

#include <new>

namespace drivers::netif {

namespace {

using xenbus::State;

constexpr const char* default_bridge = "xenbr0";

class Netback final : public xenbus::BackendDevice {
public:
    explicit Netback(const xenbus::NodeInfo& info) noexcept : BackendDevice{info} {}
    ~Netback() override { delete vif_; }

    Status start() override {
        const auto bridge = [&]() -> xenbus::Value {
            auto named = xenbus::read(own_key("bridge"));
            return named ? *std::move(named) : xenbus::Value{};
        }();
        const char* name = bridge.size() != 0 ? bridge.c_str() : default_bridge;
        bridge_ = Switch::find(name);
        if (bridge_ == nullptr)
            return refuse(Errno::noent, "no such bridge");
        vif_ = new (std::nothrow) Vif{other_id()};
        if (vif_ == nullptr)
            return Errno::nomem;
        vif_->name_after(other_id(), id());
        if (auto mac = xenbus::read(own_key("mac")); mac)
            has_mac_ = parse_mac(mac->c_str(), mac_);
        for (const char* feature :
             {"feature-rx-copy", "feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6",
              "feature-ipv6-csum-offload", "feature-split-event-channels"})
            TRY(write_own(feature, 1));
        TRY(write_own("multi-queue-max-queues", Vif::max_queues));
        TRY(xenbus::write(own_key("hotplug-status"), "connected"));
        return set_state(State::init_wait);
    }

private:
    Status connect() override {
        if (other_number("request-rx-copy", 0) == 0)
            return Errno::opnotsupp;
        const std::uint64_t count = other_number("multi-queue-num-queues", 1);
        if (count == 0 || count > Vif::max_queues)
            return Errno::inval;
        QueueOffer offers[Vif::max_queues]{};
        for (unsigned i = 0; i < count; ++i)
            TRY(read_queue(offers[i], count == 1 ? xenbus::NodePath{"%s", other()}
                                                 : xenbus::NodePath{"%s/queue-%u", other(), i}));
        NetFeatures takes;
        takes.scatter_gather = other_number("feature-sg", 0) != 0;
        takes.tx_checksum = other_number("feature-no-csum-offload", 0) == 0;
        takes.tso4 = takes.scatter_gather && other_number("feature-gso-tcpv4", 0) != 0;
        takes.tso6 = takes.scatter_gather && other_number("feature-gso-tcpv6", 0) != 0;
        TRY(vif_->connect(offers, static_cast<unsigned>(count), takes));
        TRY(bridge_->connect(port_, *vif_, PortKind::guest));
        if (has_mac_)
            bridge_->assign(port_, mac_);
        TRY(set_state(State::connected));
        vif_->kick();
        return {};
    }
    /// The keys of one queue: in the front end's directory, or in one per queue.
    static Status read_queue(QueueOffer& offer, const xenbus::NodePath& directory) {
        const auto number = [&](const char* key) {
            return xenbus::read_number(xenbus::NodePath{"%s/%s", directory.c_str(), key});
        };
        offer.tx_ref = static_cast<kernel::grant::Ref>(TRY(number("tx-ring-ref")));
        offer.rx_ref = static_cast<kernel::grant::Ref>(TRY(number("rx-ring-ref")));
        if (auto shared = number("event-channel"); shared) {
            offer.tx_port = static_cast<kernel::event::Port>(*shared);
            return {};
        }
        offer.tx_port = static_cast<kernel::event::Port>(TRY(number("event-channel-tx")));
        offer.rx_port = static_cast<kernel::event::Port>(TRY(number("event-channel-rx")));
        return {};
    }
    void disconnect() override {
        port_.disconnect();
        if (vif_ != nullptr)
            vif_->disconnect();
    }

    Switch* bridge_{};
    Vif* vif_{};
    SwitchPort port_;
    MacAddress mac_{}; ///< what the configuration gives the guest; no other guest may use it
    bool has_mac_{};
};

constinit xenbus::DriverType type{"vif", xenbus::End::back, xenbus::create_device<Netback>, {}};

void start_netback() {
    if (kernel::is_initial_domain())
        xenbus::register_driver(type);
}
CERO_INITCALL(device, start_netback);

} // namespace

} // namespace drivers::netif
