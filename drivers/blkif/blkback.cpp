// SPDX-License-Identifier: BSD-2-Clause
// blkback: gives a guest a disk of dom0's, by the handshake in XenStore. A BlockServer does the
// work.
#include "../xenbus/backend.hpp"
#include "server.hpp"

#include <cero/abi/types.h>
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>

namespace drivers::blkif {

namespace {

using xenbus::State;

class Blkback final : public xenbus::BackendDevice {
public:
    explicit Blkback(const xenbus::NodeInfo& info) noexcept : BackendDevice{info}, server_{own()} {}

    Status start() override {
        auto params = xenbus::read(own_key("params"));
        auto mode = xenbus::read(own_key("mode"));
        read_only_ = !mode || mode->c_str()[0] != 'w';
        if (!params)
            return refuse(Errno::noent, "no \"params\" key says which disk");
        auto opened = BlockHandle::open(params->c_str(), read_only_ ? BlockAccess::read
                                                                    : BlockAccess::write_exclusive);
        if (!opened)
            return refuse(opened.error(), opened.error() == Errno::noent ? "no such disk"
                                          : opened.error() == Errno::busy
                                              ? "the disk is in use by another writer"
                                          : opened.error() == Errno::rofs ? "the disk is read-only"
                                                                          : "cannot open the disk");
        disk_ = *std::move(opened);
        TRY(publish_features());
        TRY(xenbus::write(own_key("hotplug-status"), "connected"));
        return set_state(State::init_wait);
    }

private:
    Status publish_features() {
        const BlockGeometry& geometry = disk_->geometry();
        // Not by default: to map and unmap a page costs less than the copy that the guest makes.
        offers_persistent_ = own_number("persistent-grants", 0) != 0;
        offers_discard_ = geometry.max_discard_sectors != 0 && !read_only_ &&
                          own_number("discard-enable", 1) != 0;
        TRY(write_own("feature-flush-cache", 1));
        TRY(write_own("feature-barrier", 1));
        TRY(write_own("feature-max-indirect-segments",
                      geometry.max_segments < max_segments ? geometry.max_segments : max_segments));
        TRY(write_own("max-ring-page-order", max_ring_order));
        TRY(write_own("multi-queue-max-queues", max_queues));
        TRY(write_own("feature-persistent", offers_persistent_));
        if (offers_discard_) {
            TRY(write_own("feature-discard", 1));
            TRY(write_own("discard-granularity", geometry.discard_granularity));
            TRY(write_own("discard-alignment", geometry.discard_alignment));
            TRY(write_own("discard-secure", 0));
        }
        return {};
    }

    Status connect() override {
        Connection connection;
        TRY(read_offer(connection));
        TRY(server_.connect(connection));
        TRY(publish_geometry());
        TRY(set_state(State::connected));
        kernel::printk_limited(lines(), kernel::Level::debug,
                               "blkback: %s: %u rings of %u pages%s\n", own(),
                               connection.ring_count, connection.ring_pages,
                               connection.persistent ? ", persistent grants" : "");
        server_.begin();
        return {};
    }

    /// What the front end chose of what we offered.
    Status read_offer(Connection& connection) {
        if (auto protocol = xenbus::read(other_key("protocol"));
            protocol && !protocol->equals("x86_64-abi"))
            return Errno::protonosupport;
        connection.guest = other_id();
        connection.disk = disk_.get();
        connection.read_only = read_only_;
        connection.discard = offers_discard_;
        connection.persistent = offers_persistent_ && other_number("feature-persistent", 0) != 0;
        const std::uint64_t order = other_number("ring-page-order", 0);
        const std::uint64_t count = other_number("multi-queue-num-queues", 1);
        if (order > max_ring_order || count == 0 || count > max_queues)
            return Errno::inval;
        connection.ring_pages = 1u << order;
        connection.ring_count = static_cast<unsigned>(count);
        for (unsigned i = 0; i < connection.ring_count; ++i)
            TRY(read_ring(connection.rings[i], connection.ring_pages,
                          count == 1 ? xenbus::NodePath{"%s", other()}
                                     : xenbus::NodePath{"%s/queue-%u", other(), i}));
        return {};
    }

    /// The keys of one ring: directly in the front end's directory, or in one per queue.
    static Status read_ring(Connection::Ring& ring, unsigned pages,
                            const xenbus::NodePath& directory) {
        const xenbus::NodePath single{"%s/ring-ref", directory.c_str()};
        const bool is_single = pages == 1 && xenbus::exists(single);
        for (unsigned i = 0; i < pages; ++i)
            ring.refs[i] = static_cast<kernel::grant::Ref>(TRY(xenbus::read_number(
                is_single ? single : xenbus::NodePath{"%s/ring-ref%u", directory.c_str(), i})));
        ring.remote_port = static_cast<kernel::event::Port>(
            TRY(xenbus::read_number(xenbus::NodePath{"%s/event-channel", directory.c_str()})));
        return {};
    }

    Status publish_geometry() {
        const BlockGeometry& geometry = disk_->geometry();
        return xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            TRY(write_own("sectors", geometry.sectors, transaction));
            TRY(write_own("info", read_only_ ? CERO_VDISK_READONLY : 0, transaction));
            TRY(write_own("sector-size", geometry.logical_sector_size, transaction));
            return write_own("physical-sector-size", geometry.physical_sector_size, transaction);
        });
    }

    void disconnect() override { server_.disconnect(); }
    [[nodiscard]] bool is_open() const noexcept override { return bool{disk_}; }
    void release() override { disk_.close(); }

    BlockHandle disk_;
    bool read_only_{true};
    bool offers_discard_{};
    bool offers_persistent_{};
    BlockServer server_;
};

constinit xenbus::DriverType type{"vbd", xenbus::End::back, xenbus::create_device<Blkback>, {}};

void start_blkback() {
    if (kernel::is_initial_domain())
        xenbus::register_driver(type);
}
CERO_INITCALL(device, start_blkback);

} // namespace

} // namespace drivers::blkif
