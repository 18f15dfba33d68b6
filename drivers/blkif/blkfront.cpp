// SPDX-License-Identifier: BSD-2-Clause
// blkfront: a disk whose other end is a backend in another domain. Registered as xvda ... .
//
// Two objects per disk: Blkfront, the xenbus device, lives as long as its directory in the store;
// Disk, the block device, as long as somebody holds it. When the directory goes first, the Disk
// stays as a shell that fails.
#include "../ring/ring.hpp"
#include "../xenbus/bus.hpp"
#include "request.hpp"

#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>
#include <new>

namespace drivers::blkif {

namespace {

using kernel::grant::invalid_ref;
using kernel::grant::Ref;
using xenbus::State;

constexpr unsigned slot_count = CERO_BLKIF_RING_ENTRIES_1PAGE;
constexpr unsigned direct_segments = CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST;

/// A request on the ring; its index is the protocol's id.
struct Slot {
    BlockRequest* request{};
    Slot* next_free{};
    unsigned ref_count{};
    Ref refs[max_segments]{};
    cero_blkif_segment* list{}; ///< page for the segments of an indirect request, made on first use
    Ref list_ref{invalid_ref};
    bool flushing{}; ///< the write is done, its flush (force unit access) is not
};

/// The features that the backend announced.
struct BackendFeatures {
    bool flush{};
    bool discard{};
    unsigned indirect_segments{};
};

class Disk final : public BlockDevice {
public:
    Disk(const char* name, kernel::DomainId backend) noexcept : backend_{backend} {
        set_name(name);
        for (Slot& slot : slots_) {
            slot.next_free = free_;
            free_ = &slot;
        }
    }

    /// Ring page and port, shared with the backend.
    Status open_channel() {
        auto* page = kernel::alloc_zeroed_page();
        if (page == nullptr)
            return Errno::nomem;
        ring_page_ = page;
        ring_.initialise(page, kernel::page_size);
        ring_ref_ = TRY(kernel::grant::offer(backend_, kernel::virt_to_mfn(page), false));
        port_ = TRY(kernel::event::alloc_unbound(backend_));
        kernel::event::set_handler(
            port_,
            [](kernel::event::Port, void* self) { static_cast<Disk*>(self)->handle_responses(); },
            this);
        return {};
    }
    /// Gives everything shared back. Requests still with the backend end with an error.
    void close_channel() noexcept {
        BlockRequestList failed;
        {
            kernel::SpinGuard guard{lock_};
            live_ = false;
            for (Slot& slot : slots_) {
                if (slot.request != nullptr)
                    retire(slot, Errno::io, failed);
                if (slot.list != nullptr) {
                    kernel::grant::withdraw_deferred(slot.list_ref, slot.list);
                    slot.list = nullptr;
                }
            }
            while (BlockRequest* request = waiting_.pop_front()) {
                request->error = Errno::io;
                failed.push_back(*request);
            }
        }
        if (port_ != 0)
            kernel::event::close(port_);
        port_ = 0;
        if (ring_ref_ != invalid_ref)
            kernel::grant::withdraw_deferred(ring_ref_, ring_page_);
        else if (ring_page_ != nullptr)
            kernel::free_pages(ring_page_, 0);
        ring_ref_ = invalid_ref;
        ring_page_ = nullptr;
        complete_all(failed);
    }
    /// The backend is connected: requests may flow.
    void go_live(const BlockGeometry& geometry, const BackendFeatures& features) noexcept {
        kernel::SpinGuard guard{lock_};
        geometry_ = geometry;
        geometry_.max_segments = features.indirect_segments > direct_segments
                                     ? features.indirect_segments
                                     : direct_segments;
        features_ = features;
        live_ = true;
    }
    /// Waits until the backend has answered everything.
    void drain() {
        idle_.wait([this] { return (in_flight_ == 0 && waiting_.empty()) || !live_; });
    }
    [[nodiscard]] Ref ring_ref() const noexcept { return ring_ref_; }
    [[nodiscard]] kernel::event::Port port() const noexcept { return port_; }

    void plug() noexcept override {
        kernel::SpinGuard guard{lock_};
        ++plugged_;
    }
    void unplug() noexcept override {
        kernel::SpinGuard guard{lock_};
        if (--plugged_ == 0)
            kick();
    }
    void destroy() noexcept { delete this; }

private:
    ~Disk() override = default;
    void released() noexcept override { delete this; }

    void start(BlockRequest& request) noexcept override {
        {
            kernel::SpinGuard guard{lock_};
            if (live_) {
                if (!waiting_.empty() || !enqueue(request))
                    waiting_.push_back(request);
                else if (plugged_ == 0)
                    kick();
                return;
            }
        }
        request.finish(Errno::io);
    }

    void kick() noexcept {
        if (live_ && ring_.push())
            kernel::event::notify(port_);
    }

    /// Puts a request on the ring. False: no slot, or no grants left; it has to wait then.
    bool enqueue(BlockRequest& request) noexcept {
        Slot* slot = free_;
        if (slot == nullptr || ring_.free_slots() == 0)
            return false;
        slot->request = &request;
        slot->flushing = false;
        if (!put(*slot, request.op)) {
            slot->request = nullptr;
            return false;
        }
        free_ = slot->next_free;
        ++in_flight_;
        return true;
    }

    bool put(Slot& slot, BlockOp op) noexcept {
        const BlockRequest& request = *slot.request;
        const auto id = static_cast<std::uint64_t>(&slot - slots_);
        if (op == BlockOp::discard) {
            ring_.put(cero_blkif_request_discard{CERO_BLKIF_OP_DISCARD, 0, 0, 0, id, request.sector,
                                                 request.sector_count});
            return true;
        }
        cero_blkif_request direct{};
        direct.id = id;
        direct.operation = CERO_BLKIF_OP_FLUSH_DISKCACHE;
        if (op == BlockOp::flush) {
            ring_.put(direct);
            return true;
        }
        const std::uint8_t operation =
            op == BlockOp::write ? CERO_BLKIF_OP_WRITE : CERO_BLKIF_OP_READ;
        if (request.segment_count <= direct_segments) {
            if (!grant_segments(slot, direct.seg))
                return false;
            direct.operation = operation;
            direct.nr_segments = static_cast<std::uint8_t>(request.segment_count);
            direct.sector_number = request.sector;
            ring_.put(direct);
            return true;
        }
        if (!prepare_list(slot) || !grant_segments(slot, slot.list))
            return false;
        cero_blkif_request_indirect indirect{};
        indirect.operation = CERO_BLKIF_OP_INDIRECT;
        indirect.indirect_op = operation;
        indirect.nr_segments = static_cast<std::uint16_t>(request.segment_count);
        indirect.id = id;
        indirect.sector_number = request.sector;
        indirect.indirect_grefs[0] = slot.list_ref;
        ring_.put(indirect);
        return true;
    }

    bool prepare_list(Slot& slot) noexcept {
        if (slot.list != nullptr)
            return true;
        auto* page = static_cast<cero_blkif_segment*>(kernel::alloc_zeroed_page());
        if (page == nullptr)
            return false;
        auto ref = kernel::grant::offer(backend_, kernel::virt_to_mfn(page), true);
        if (!ref) {
            kernel::free_pages(page, 0);
            return false;
        }
        slot.list = page;
        slot.list_ref = *ref;
        return true;
    }

    /// Lends the pages of a transfer; all or none.
    bool grant_segments(Slot& slot, cero_blkif_segment* out) noexcept {
        const BlockRequest& request = *slot.request;
        const bool readonly = request.op == BlockOp::write;
        for (slot.ref_count = 0; slot.ref_count < request.segment_count; ++slot.ref_count) {
            const BlockSegment& segment = request.segments[slot.ref_count];
            const std::uint64_t offset = segment.machine % kernel::page_size;
            auto ref = kernel::grant::offer(
                backend_, kernel::MachineFrame{segment.machine >> kernel::page_shift}, readonly);
            if (!ref) {
                withdraw_refs(slot);
                return false;
            }
            slot.refs[slot.ref_count] = *ref;
            out[slot.ref_count] = {
                *ref, static_cast<std::uint8_t>(offset / block_sector_size),
                static_cast<std::uint8_t>((offset + segment.length - 1) / block_sector_size), 0};
        }
        return true;
    }

    void withdraw_refs(Slot& slot) noexcept {
        for (unsigned i = 0; i < slot.ref_count; ++i)
            if (!kernel::grant::withdraw(slot.refs[i])) {
                kernel::printk(kernel::Level::error, "%s: the backend keeps a page\n", name());
                kernel::grant::withdraw_deferred(slot.refs[i], nullptr);
            }
        slot.ref_count = 0;
    }

    void handle_responses() noexcept {
        BlockRequestList finished;
        {
            kernel::SpinGuard guard{lock_};
            if (!live_)
                return;
            cero_blkif_response response;
            do {
                while (ring_.take(response))
                    accept(response, finished);
            } while (ring_.arm());
            if (ring_.is_broken()) {
                kernel::printk(kernel::Level::error, "%s: impossible ring index; disk disabled\n",
                               name());
                live_ = false;
            }
            while (live_ && !waiting_.empty()) {
                BlockRequest& next = *waiting_.pop_front();
                if (!enqueue(next)) {
                    waiting_.push_front(next);
                    break;
                }
            }
            kick();
        }
        complete_all(finished);
        if (in_flight_ == 0)
            idle_.wake_all();
    }

    void accept(const cero_blkif_response& response, BlockRequestList& finished) noexcept {
        if (response.id >= slot_count || slots_[response.id].request == nullptr) {
            kernel::printk(kernel::Level::error, "%s: response to no request; disk disabled\n",
                           name());
            live_ = false;
            return;
        }
        Slot& slot = slots_[response.id];
        const BlockRequest& request = *slot.request;
        if (response.status == CERO_BLKIF_RSP_OKAY && request.op == BlockOp::write &&
            request.force_unit_access && features_.flush && !slot.flushing &&
            ring_.free_slots() != 0) {
            withdraw_refs(slot);
            slot.flushing = true;
            static_cast<void>(put(slot, BlockOp::flush));
            return;
        }
        retire(slot,
               response.status == CERO_BLKIF_RSP_OKAY         ? Errno::ok
               : response.status == CERO_BLKIF_RSP_EOPNOTSUPP ? Errno::opnotsupp
                                                              : Errno::io,
               finished);
    }

    void retire(Slot& slot, Errno outcome, BlockRequestList& finished) noexcept {
        withdraw_refs(slot);
        slot.request->error = outcome;
        finished.push_back(*slot.request);
        slot.request = nullptr;
        slot.next_free = free_;
        free_ = &slot;
        --in_flight_;
    }

    static void complete_all(BlockRequestList& requests) noexcept {
        const CompletionBatch batch;
        while (BlockRequest* request = requests.pop_front())
            request->complete(*request);
    }

    kernel::DomainId backend_;
    kernel::Spinlock lock_;
    bool live_{};
    FrontRing<cero_blkif_entry, cero_blkif_response> ring_;
    void* ring_page_{};
    Ref ring_ref_{invalid_ref};
    kernel::event::Port port_{};
    BackendFeatures features_{};
    BlockRequestList waiting_;
    Slot slots_[slot_count];
    Slot* free_{};
    unsigned in_flight_{};
    unsigned plugged_{};
    kernel::WaitQueue idle_;
};

class Blkfront final : public xenbus::Device {
public:
    explicit Blkfront(const xenbus::NodeInfo& info) noexcept : Device{info} {}

    Status start() override {
        char name[BlockDevice::name_size];
        if (!disk_name(id(), name, sizeof name))
            return Errno::inval;
        disk_ = new (std::nothrow) Disk{name, other_id()};
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
        TRY(disk_->open_channel());
        const Status written = xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            TRY(write_own("ring-ref", disk_->ring_ref(), transaction));
            TRY(write_own("event-channel", disk_->port(), transaction));
            TRY(write_own("feature-persistent", 0, transaction));
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
        geometry.has_flush = other_number("feature-flush-cache", 0) != 0;
        if (other_number("feature-discard", 0) != 0) {
            geometry.max_discard_sectors = ~0u;
            geometry.discard_granularity =
                static_cast<std::uint32_t>(other_number("discard-granularity", size));
        }
        return geometry;
    }

    Status connect() {
        BlockGeometry geometry = TRY(read_geometry());
        BackendFeatures features;
        features.flush = geometry.has_flush;
        const std::uint64_t indirect = other_number("feature-max-indirect-segments", 0);
        features.indirect_segments =
            static_cast<unsigned>(indirect < max_segments ? indirect : max_segments);
        disk_->go_live(geometry, features);
        TRY(set_state(State::connected));
        TRY(BlockRegistry::add(*disk_));
        registered_ = true;
        kernel::printk(kernel::Level::info, "%s: %llu MiB from domain %u%s\n", disk_->name(),
                       static_cast<unsigned long long>(geometry.sectors / 2048), other_id(),
                       geometry.read_only ? ", read-only" : "");
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
        Disk* disk = disk_;
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

    Disk* disk_{};
    bool registered_{};
    BlockHandle
        leaving_; ///< keeps the disk between removal from the registry and the end of the channel
};

constinit xenbus::DriverType type{"vbd",
                                  xenbus::End::front,
                                  [](const xenbus::NodeInfo& info) -> xenbus::Device* {
                                      return new (std::nothrow) Blkfront{info};
                                  },
                                  {}};

void start_blkfront() {
    xenbus::register_driver(type);
}
CERO_INITCALL(device, start_blkfront);

} // namespace

} // namespace drivers::blkif
