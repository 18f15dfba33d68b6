// SPDX-License-Identifier: BSD-2-Clause
// netfront: offers rings to the backend and registers the interface (eth0 ...) when the backend has
// taken them.
#include "../xenbus/bus.hpp"
#include "interface.hpp"

#include <cero/lib/format.hpp>
#include <kernel/initcall.hpp>

#include <new>

namespace drivers::netif {

namespace {

using xenbus::State;

unsigned interface_count = 0;

class Netfront final : public xenbus::Device {
public:
    explicit Netfront(const xenbus::NodeInfo& info) noexcept : Device{info} {}

    Status start() override {
        const auto text = [&]() -> xenbus::Value {
            auto value = xenbus::read(own_key("mac"));
            return value ? *std::move(value) : xenbus::Value{};
        }();
        MacAddress mac;
        if (!parse_mac(text.c_str(), mac))
            return Errno::inval;
        char name[NetDevice::name_size];
        cero::format_to(name, sizeof name, "eth%u", interface_count++);
        interface_ = new (std::nothrow) Interface{name, other_id(), mac};
        return interface_ != nullptr ? Status{} : Status{Errno::nomem};
    }

    void other_changed(State other) override {
        switch (other) {
        case State::init_wait:
            if (state() == State::initialising)
                if (const Status offered = offer(); !offered)
                    fail(offered.error(), "cannot offer rings");
            break;
        case State::connected:
            if (state() == State::connected && !registered_)
                connect();
            break;
        case State::closing:
        case State::closed:
        case State::unknown:
            if (state() == State::closed ||
                (state() == State::initialising && other != State::closing))
                break;
            drop_interface();
            static_cast<void>(set_state(State::closed));
            break;
        default:
            break;
        }
    }

    void stop() override { drop_interface(); }

private:
    Status offer() {
        TRY(interface_->open_channel());
        const Status written = xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            TRY(write_own("tx-ring-ref", interface_->tx_ref(), transaction));
            TRY(write_own("rx-ring-ref", interface_->rx_ref(), transaction));
            TRY(write_own("event-channel", interface_->port(), transaction));
            for (const char* feature : {"request-rx-copy", "feature-rx-notify", "feature-sg",
                                        "feature-gso-tcpv4", "feature-ipv6-csum-offload"})
                TRY(write_own(feature, 1, transaction));
            return {};
        });
        if (!written)
            return written.error();
        return set_state(State::connected);
    }

    void connect() {
        NetFeatures takes;
        takes.scatter_gather = other_number("feature-sg", 0) != 0;
        takes.tx_checksum = other_number("feature-no-csum-offload", 0) == 0;
        takes.tso4 = takes.scatter_gather && other_number("feature-gso-tcpv4", 0) != 0;
        takes.tso6 = takes.scatter_gather && other_number("feature-gso-tcpv6", 0) != 0;
        interface_->set_features(
            takes); // the IP stack looks at them once, when it hears of the interface
        registered_ = NetRegistry::add(*interface_).has_value();
        interface_->go_live();
        settled();
    }
    void drop_interface() {
        if (interface_ == nullptr)
            return;
        if (registered_)
            NetRegistry::remove(*interface_);
        registered_ = false;
        delete interface_;
        interface_ = nullptr;
    }

    Interface* interface_{};
    bool registered_{};
};

constinit xenbus::DriverType type{"vif", xenbus::End::front, xenbus::create_device<Netfront>, {}};

void start_netfront() {
    xenbus::register_driver(type);
}
CERO_INITCALL(device, start_netfront);

} // namespace

} // namespace drivers::netif
