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
        for (const char* feature : {"feature-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                    "feature-gso-tcpv6", "feature-ipv6-csum-offload",
                                    "feature-split-event-channels", "multi-queue-max-queues"})
            TRY(write_own(feature, 1));
        TRY(xenbus::write(own_key("hotplug-status"), "connected"));
        return set_state(State::init_wait);
    }

private:
    Status connect() override {
        if (other_number("request-rx-copy", 0) == 0)
            return Errno::opnotsupp;
        const auto tx_ref =
            static_cast<kernel::grant::Ref>(TRY(xenbus::read_number(other_key("tx-ring-ref"))));
        const auto rx_ref =
            static_cast<kernel::grant::Ref>(TRY(xenbus::read_number(other_key("rx-ring-ref"))));
        auto shared = xenbus::read_number(other_key("event-channel"));
        kernel::event::Port tx_port = 0;
        kernel::event::Port rx_port = 0;
        if (shared) {
            tx_port = static_cast<kernel::event::Port>(*shared);
        } else {
            tx_port = static_cast<kernel::event::Port>(
                TRY(xenbus::read_number(other_key("event-channel-tx"))));
            rx_port = static_cast<kernel::event::Port>(
                TRY(xenbus::read_number(other_key("event-channel-rx"))));
        }
        NetFeatures takes;
        takes.scatter_gather = other_number("feature-sg", 0) != 0;
        takes.tx_checksum = other_number("feature-no-csum-offload", 0) == 0;
        takes.tso4 = takes.scatter_gather && other_number("feature-gso-tcpv4", 0) != 0;
        takes.tso6 = takes.scatter_gather && other_number("feature-gso-tcpv6", 0) != 0;
        TRY(vif_->connect(tx_ref, rx_ref, tx_port, rx_port, takes));
        TRY(bridge_->connect(port_, *vif_, PortKind::guest));
        TRY(set_state(State::connected));
        vif_->kick();
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
};

constinit xenbus::DriverType type{"vif",
                                  xenbus::End::back,
                                  [](const xenbus::NodeInfo& info) -> xenbus::Device* {
                                      return new (std::nothrow) Netback{info};
                                  },
                                  {}};

void start_netback() {
    if (kernel::is_initial_domain())
        xenbus::register_driver(type);
}
CERO_INITCALL(device, start_netback);

} // namespace

} // namespace drivers::netif
