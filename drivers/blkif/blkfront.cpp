// SPDX-License-Identifier: BSD-2-Clause
// blkfront: the handshake of a disk whose other end is a backend in another domain. Registered as
// xvda ... .
//
// Two objects per disk: Blkfront, the xenbus device, lives as long as its directory in the store;
// FrontDisk, the block device, as long as somebody holds it. When the directory goes first, the
// FrontDisk stays as a shell that fails.
#include "../xenbus/bus.hpp"
#include "front_disk.hpp"

#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <new>

namespace drivers::blkif {

namespace {

using xenbus::State;

class Blkfront final : public xenbus::Device {
public:
    explicit Blkfront(const xenbus::NodeInfo& info) noexcept : Device{info} {}

    Status start() override {
        char name[BlockDevice::name_size];
        if (!disk_name(id(), name, sizeof name))
            return Errno::inval;
        disk_ = new (std::nothrow) FrontDisk{name, other_id()};
        return disk_ != nullptr ? Status{} : Status{Errno::nomem};
    }

    void other_changed(State other) override {
        switch (other) {
        case State::init_wait:
            if (state() == State::initialising)
                if (const Status offered = offer(); !offered)
                    fail(offered.error(), "cannot offer a ring");
            break;
        case State::connected:
            if (state() == State::initialised) {
                if (const Status connected = connect(); !connected)
                    fail(connected.error(), "cannot use the backend");
            } else if (state() == State::connected && registered_) {
                if (auto geometry = read_geometry(); geometry)
                    BlockRegistry::changed(*disk_, *geometry);
            }
            break;
        case State::closing:
            if (state() == State::closed)
                break;
            if (registered_ && BlockRegistry::has_writer(*disk_)) {
                kernel::printk(
                    kernel::Level::warning,
                    "%s: dom0 wants it back, but it is in use; unmount it, then ask again\n",
                    disk_->name());
                break;
            }
            if (registered_ && state() == State::connected)
                hide_and_drain();
            shut();
            break;
        case State::closed:
        case State::unknown:
            if (state() != State::initialising && state() != State::closed)
                shut();
            break;
        default:
            break;
        }
    }

    void stop() override { forget_disk(); }

private:
    Status offer() {
        const std::uint64_t order = other_number("max-ring-page-order", 0);
        TRY(disk_->open_channel(static_cast<unsigned>(
            order < FrontDisk::max_ring_order ? order : FrontDisk::max_ring_order)));
        const Status written = xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            if (disk_->ring_pages() == 1) {
                TRY(write_own("ring-ref", disk_->ring_ref(0), transaction));
            } else {
                TRY(write_own("ring-page-order", FrontDisk::max_ring_order, transaction));
                for (unsigned i = 0; i < disk_->ring_pages(); ++i)
                    TRY(write_own(xenbus::NodePath{"ring-ref%u", i}, disk_->ring_ref(i),
                                  transaction));
            }
            TRY(write_own("event-channel", disk_->port(), transaction));
            TRY(write_own("feature-persistent", 1, transaction));
            return xenbus::write(own_key("protocol"), "x86_64-abi", transaction);
        });
        if (!written)
            return written.error();
        return set_state(State::initialised);
    }

    Result<BlockGeometry> read_geometry() {
        BlockGeometry geometry;
        geometry.sectors = TRY(xenbus::read_number(other_key("sectors")));
        geometry.logical_sector_size = static_cast<std::uint32_t>(other_number("sector-size", 512));
        geometry.physical_sector_size = static_cast<std::uint32_t>(
            other_number("physical-sector-size", geometry.logical_sector_size));
        const std::uint32_t size = geometry.logical_sector_size;
        if (size < block_sector_size || size > kernel::page_size || (size & (size - 1)) != 0)
            return Errno::inval;
        geometry.read_only = (other_number("info", 0) & CERO_VDISK_READONLY) != 0;
        geometry.has_flush =
            other_number("feature-flush-cache", 0) != 0 || other_number("feature-barrier", 0) != 0;
        if (other_number("feature-discard", 0) != 0) {
            geometry.max_discard_sectors = ~0u;
            geometry.discard_granularity =
                static_cast<std::uint32_t>(other_number("discard-granularity", size));
            geometry.discard_alignment =
                static_cast<std::uint32_t>(other_number("discard-alignment", 0));
        }
        return geometry;
    }

    Status connect() {
        BlockGeometry geometry = TRY(read_geometry());
        BackendFeatures features;
        features.flush = other_number("feature-flush-cache", 0) != 0;
        features.persistent = other_number("feature-persistent", 0) != 0;
        const std::uint64_t indirect = other_number("feature-max-indirect-segments", 0);
        features.indirect_segments =
            static_cast<unsigned>(indirect < max_segments ? indirect : max_segments);
        TRY(disk_->go_live(geometry, features));
        TRY(set_state(State::connected));
        TRY(BlockRegistry::add(*disk_));
        registered_ = true;
        kernel::printk(kernel::Level::info, "%s: %llu MiB from domain %u%s%s\n", disk_->name(),
                       static_cast<unsigned long long>(geometry.sectors / 2048), other_id(),
                       geometry.read_only ? ", read-only" : "",
                       features.persistent ? ", persistent grants" : "");
        scan_partitions(*disk_);
        settled();
        return {};
    }

    /// The backend asks to close: nobody new may come, what was begun is finished.
    void hide_and_drain() {
        registered_ = false;
        leaving_ = BlockRegistry::hold(*disk_);
        BlockRegistry::remove(*disk_);
        disk_->drain();
    }
    /// Ends the connection. The Disk fails whatever its users still try.
    void shut() {
        forget_disk();
        static_cast<void>(set_state(State::closed));
    }
    void forget_disk() {
        if (disk_ == nullptr)
            return;
        FrontDisk* disk = disk_;
        disk_ = nullptr;
        disk->close_channel();
        if (registered_) {
            registered_ = false;
            BlockRegistry::remove(*disk);
        } else if (leaving_) {
            leaving_.close();
        } else {
            disk->destroy();
        }
    }

    FrontDisk* disk_{};
    bool registered_{};
    BlockHandle
        leaving_; ///< keeps the disk between removal from the registry and the end of the channel
};

constinit xenbus::DriverType type{"vbd", xenbus::End::front, xenbus::create_device<Blkfront>, {}};

void start_blkfront() {
    xenbus::register_driver(type);
}
CERO_INITCALL(device, start_blkfront);

} // namespace

} // namespace drivers::blkif
