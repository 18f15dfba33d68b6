// SPDX-License-Identifier: BSD-2-Clause
// blkback: serves a guest's disk from a block device of dom0.
//
//   ring ─take─▶ Plan (private copy, checked) ─▶ grants mapped, many at once ─▶ BlockDevice::submit
//   ring ◀─respond── grants unmapped, many at once ◀── end of a batch of completions ◀──┘
//
// Runs in event context: no thread, no wake-up. At most `max_jobs` requests are in flight; the
// guest's others wait in its own ring. Nothing that the guest writes is read twice.
#include "../ring/grant_pages.hpp"
#include "../ring/ring.hpp"
#include "../xenbus/backend.hpp"
#include "request.hpp"

#include <cero/abi/types.h>
#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

#include <cstring>
#include <new>

namespace drivers::blkif {

namespace {

using kernel::grant::Handle;
using kernel::grant::invalid_handle;
using kernel::grant::MapRequest;
using kernel::grant::UnmapRequest;
using xenbus::State;

constexpr unsigned max_jobs = 64;
constexpr unsigned max_ring_order = 2;
constexpr unsigned jobs_per_batch = 8;       ///< whose grants are mapped by one hypercall
constexpr unsigned requests_per_event = 256; ///< then the guest's next ones wait for a timer
constexpr kernel::Nanoseconds breather = kernel::ns_per_ms;
constexpr std::size_t sector = block_sector_size;

class Blkback;

/// A request being carried out.
struct Job {
    Blkback* owner{};
    cero::ListLink link{}; ///< free, batch or finished
    std::byte* pages{};    ///< max_segments reserved pages
    Plan plan{};
    BlockRequest request{};
    BlockSegment segments[max_segments]{};
    Handle handles[max_segments]{};
    Errno outcome{Errno::ok};
};
using JobList = cero::IntrusiveList<Job, &Job::link>;

class Blkback final : public xenbus::BackendDevice {
public:
    explicit Blkback(const xenbus::NodeInfo& info) noexcept
        : BackendDevice{info}, timer_{[](void* self) { static_cast<Blkback*>(self)->serve(); },
                                      this} {
        batch_end_.owner = this;
        batch_end_.run = [](BatchEnd& end) {
            static_cast<OwnedBatchEnd&>(end).owner->retire_finished();
        };
    }

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
        const BlockGeometry& geometry = disk_->geometry();
        TRY(write_own("feature-flush-cache", 1));
        TRY(write_own("feature-max-indirect-segments", max_segments));
        TRY(write_own("max-ring-page-order", max_ring_order));
        TRY(write_own("feature-persistent", 0));
        if (geometry.max_discard_sectors != 0 && !read_only_) {
            TRY(write_own("feature-discard", 1));
            TRY(write_own("discard-granularity", geometry.discard_granularity));
            TRY(write_own("discard-alignment", 0));
            TRY(write_own("discard-secure", 0));
        }
        TRY(xenbus::write(own_key("hotplug-status"), "connected"));
        return set_state(State::init_wait);
    }

private:
    struct OwnedBatchEnd : BatchEnd {
        Blkback* owner{};
    };

    Status connect() override {
        if (auto protocol = xenbus::read(other_key("protocol"));
            protocol && !protocol->equals("x86_64-abi"))
            return Errno::protonosupport;
        const std::uint64_t order = other_number("ring-page-order", 0);
        if (order > max_ring_order)
            return Errno::inval;
        const unsigned pages = 1u << order;
        kernel::grant::Ref refs[1u << max_ring_order];
        const bool single = order == 0 && xenbus::exists(other_key("ring-ref"));
        for (unsigned i = 0; i < pages; ++i)
            refs[i] = static_cast<kernel::grant::Ref>(TRY(xenbus::read_number(
                single ? other_key("ring-ref") : xenbus::NodePath{"%s/ring-ref%u", other(), i})));
        const auto remote_port =
            static_cast<kernel::event::Port>(TRY(xenbus::read_number(other_key("event-channel"))));
        TRY(ring_pages_.map(other_id(), refs, pages));
        ring_.attach(ring_pages_.data(), ring_pages_.bytes());
        TRY(allocate_jobs(ring_.size() < max_jobs ? ring_.size() : max_jobs));
        port_ = TRY(kernel::event::bind_interdomain(other_id(), remote_port));
        TRY(publish_geometry());
        serving_ = true;
        kernel::event::set_handler(
            port_, [](kernel::event::Port, void* self) { static_cast<Blkback*>(self)->serve(); },
            this);
        TRY(set_state(State::connected));
        kernel::EventGuard masked;
        serve(); // what came before the handler was there
        return {};
    }

    [[nodiscard]] bool is_open() const noexcept override { return bool{disk_}; }
    void release() override { disk_.close(); }

    Status publish_geometry() {
        const BlockGeometry& geometry = disk_->geometry();
        return xenbus::transact([&](xenbus::Transaction transaction) -> Status {
            TRY(write_own("sectors", geometry.sectors, transaction));
            TRY(write_own("info", read_only_ ? CERO_VDISK_READONLY : 0, transaction));
            TRY(write_own("sector-size", geometry.logical_sector_size, transaction));
            return write_own("physical-sector-size", geometry.physical_sector_size, transaction);
        });
    }

    /// Jobs and their address space, as many as the ring can ask for at once.
    Status allocate_jobs(unsigned count) {
        TRY(pages_.reserve(std::size_t{count} * max_segments));
        for (; job_count_ < count; ++job_count_) {
            auto* job = new (std::nothrow) Job;
            if (job == nullptr)
                return Errno::nomem;
            job->owner = this;
            job->pages = pages_.page(job_count_ * max_segments);
            jobs_[job_count_] = job;
            free_.push_back(*job);
        }
        return {};
    }
    void free_jobs() noexcept {
        while (free_.pop_front() != nullptr) {
        }
        while (job_count_ != 0)
            delete jobs_[--job_count_];
        pages_.release();
    }

    /// Lets go of the guest: no more requests, those in flight awaited, every grant and port given
    /// back.
    void disconnect() override {
        serving_ = false;
        timer_.cancel();
        if (port_ != 0) {
            kernel::event::close(port_);
            port_ = 0;
        }
        idle_.wait([this] { return in_flight_ == 0; });
        ring_pages_.unmap();
        free_jobs();
    }

    /// Takes requests while there are jobs for them. Event context (or events masked). Requests
    /// that fail at once come back here through retire_finished(): then the running call goes on,
    /// it does not nest.
    void serve() noexcept {
        if (in_serve_ || !serving_) {
            serve_again_ = true;
            return;
        }
        in_serve_ = true;
        unsigned budget = requests_per_event;
        do {
            serve_again_ = false;
            const CompletionBatch batch;
            disk_->plug();
            do {
                while (budget != 0 && !free_.empty() && ring_.pending() != 0)
                    budget -= serve_batch(budget);
            } while (budget != 0 && !free_.empty() && !ring_.is_broken() && ring_.arm());
            disk_->unplug();
        } while (serve_again_ && budget != 0);
        in_serve_ = false;
        push_responses();
        if (ring_.is_broken()) {
            kernel::printk(kernel::Level::error,
                           "blkback: %s: impossible ring index; the guest is ignored\n", own());
            serving_ = false;
        } else if (budget == 0) {
            timer_.arm(kernel::monotonic_ns() + breather);
        }
    }

    /// Copies and checks up to jobs_per_batch requests, maps all their pages at once, submits them.
    unsigned serve_batch(unsigned budget) noexcept {
        unsigned map_count = 0;
        unsigned taken = 0;
        JobList batch;
        std::uint32_t pending = ring_.pending();
        while (taken < budget && taken < jobs_per_batch && pending-- != 0 && !free_.empty() &&
               map_count + max_segments <= map_room) {
            Job& job = *free_.pop_front();
            cero_blkif_entry entry;
            ring_.take(entry);
            ++taken;
            Errno verdict = check_request(entry, job.plan);
            if (verdict == Errno::ok && job.plan.indirect)
                verdict = fetch_segments(job.plan);
            if (verdict == Errno::ok && read_only_ &&
                (job.plan.op == BlockOp::write || job.plan.op == BlockOp::discard))
                verdict = Errno::rofs;
            if (verdict != Errno::ok) {
                respond(job, verdict);
                continue;
            }
            for (unsigned i = 0; i < job.plan.segment_count; ++i)
                maps_[map_count++] = {other_id(),
                                      job.plan.segments[i].gref,
                                      job.plan.op == BlockOp::write,
                                      job.pages + i * kernel::page_size,
                                      0,
                                      -1,
                                      invalid_handle,
                                      0};
            batch.push_back(job);
        }
        const bool mapped = map_count == 0 || kernel::grant::map(maps_, map_count).has_value();
        const MapRequest* map = maps_;
        while (Job* job = batch.pop_front()) {
            bool good = mapped;
            for (unsigned i = 0; i < job->plan.segment_count; ++i, ++map) {
                const bool done = mapped && map->status == 0;
                job->handles[i] = done ? map->handle : invalid_handle;
                const cero_blkif_segment& segment = job->plan.segments[i];
                const std::size_t offset = segment.first_sect * sector;
                job->segments[i] = {map->bus_address + offset,
                                    job->pages + i * kernel::page_size + offset,
                                    static_cast<std::uint32_t>(
                                        (segment.last_sect - segment.first_sect + 1u) * sector)};
                good &= done;
            }
            submit(*job, good);
        }
        return taken;
    }

    /// The segment list of an indirect request, copied out of the guest once.
    Errno fetch_segments(Plan& plan) noexcept {
        kernel::grant::CopyRequest copy{};
        copy.source = {other_id(), true, plan.indirect_ref, {}, 0};
        const auto address = reinterpret_cast<std::uintptr_t>(plan.segments);
        // The list may straddle a page of ours.
        const std::size_t bytes = plan.segment_count * sizeof plan.segments[0];
        kernel::grant::CopyRequest copies[2] = {copy, copy};
        const std::size_t near = kernel::page_size - address % kernel::page_size;
        const std::size_t first = bytes < near ? bytes : near;
        for (unsigned i = 0; i < 2; ++i) {
            const std::size_t done = i == 0 ? 0 : first;
            const auto* to = reinterpret_cast<const std::byte*>(plan.segments) + done;
            copies[i].source.offset = static_cast<std::uint16_t>(done);
            copies[i].target = {CERO_DOMID_SELF, false, 0, kernel::virt_to_mfn(to),
                                static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(to) %
                                                           kernel::page_size)};
            copies[i].length = static_cast<std::uint16_t>(i == 0 ? first : bytes - first);
        }
        const unsigned count = first == bytes ? 1 : 2;
        if (!kernel::grant::copy(copies, count) || copies[0].status != 0 ||
            (count == 2 && copies[1].status != 0))
            return Errno::inval;
        return check_segments(plan);
    }

    void submit(Job& job, bool mapped) noexcept {
        ++in_flight_;
        BlockRequest& request = job.request;
        request.op = job.plan.op;
        request.sector = job.plan.sector;
        request.sector_count = job.plan.sector_count;
        request.segments = job.segments;
        request.segment_count = job.plan.segment_count;
        request.context = &job;
        request.complete = completed;
        if (mapped)
            disk_->submit(request);
        else
            request.finish(Errno::fault);
    }

    static void completed(BlockRequest& request) {
        Job& job = *static_cast<Job*>(request.context);
        Blkback& self = *job.owner;
        job.outcome = request.error;
        kernel::EventGuard masked;
        self.finished_.push_back(job);
        CompletionBatch::at_end(self.batch_end_);
    }

    /// Unmaps the pages of all finished jobs together, then answers: the guest may reuse a page
    /// only after.
    void retire_finished() noexcept {
        kernel::EventGuard masked;
        bool progress = false;
        while (!finished_.empty()) {
            unsigned count = 0;
            JobList retired;
            while (count + max_segments <= unmap_room) {
                Job* job = finished_.pop_front();
                if (job == nullptr)
                    break;
                for (unsigned i = 0; i < job->plan.segment_count; ++i)
                    if (job->handles[i] != invalid_handle)
                        unmaps_[count++] = {job->pages + i * kernel::page_size, 0, job->handles[i],
                                            0};
                retired.push_back(*job);
            }
            if (count != 0 && !kernel::grant::unmap(unmaps_, count))
                kernel::printk(kernel::Level::error, "blkback: %s: cannot unmap\n", own());
            while (Job* job = retired.pop_front()) {
                --in_flight_;
                respond(*job, job->outcome);
                progress = true;
            }
        }
        if (!progress)
            return;
        if (serving_)
            serve(); // jobs are free again; pushes the responses too
        else
            push_responses();
        if (in_flight_ == 0)
            idle_.wake_all();
    }

    /// Puts the response on the ring and frees the job.
    void respond(Job& job, Errno outcome) noexcept {
        if (ring_pages_.bytes() != 0)
            ring_.put(
                cero_blkif_response{job.plan.id, job.plan.response_op, 0, status_of(outcome), 0});
        free_.push_back(job);
    }
    void push_responses() noexcept {
        if (ring_pages_.bytes() != 0 && ring_.push() && port_ != 0)
            kernel::event::notify(port_);
    }

    BlockHandle disk_;
    bool read_only_{true};
    bool serving_{};
    bool in_serve_{};
    bool serve_again_{};
    static constexpr unsigned map_room =
        jobs_per_batch * CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST + max_segments;
    static constexpr unsigned unmap_room = 4 * max_segments;
    MapRequest maps_[map_room]; ///< members: too large for a stack that an event may find half used
    UnmapRequest unmaps_[unmap_room];
    kernel::event::Port port_{};
    MappedRing ring_pages_;
    BackRing<cero_blkif_entry, cero_blkif_response> ring_;
    GrantPages pages_;
    Job* jobs_[max_jobs]{};
    unsigned job_count_{};
    JobList free_;
    JobList finished_;
    OwnedBatchEnd batch_end_;
    unsigned in_flight_{};
    kernel::WaitQueue idle_;
    kernel::Timer timer_;
};

constinit xenbus::DriverType type{"vbd",
                                  xenbus::End::back,
                                  [](const xenbus::NodeInfo& info) -> xenbus::Device* {
                                      return new (std::nothrow) Blkback{info};
                                  },
                                  {}};

void start_blkback() {
    if (kernel::is_initial_domain())
        xenbus::register_driver(type);
}
CERO_INITCALL(device, start_blkback);

} // namespace

} // namespace drivers::blkif
