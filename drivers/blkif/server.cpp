// SPDX-License-Identifier: BSD-2-Clause
// The life of a BlockServer, and its way from the rings to the disk.
#include "server.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <new>

namespace drivers::blkif {

using kernel::grant::invalid_handle;
using kernel::grant::MapRequest;

namespace {
/// Then other ports have their turn, and the kernel may let threads run. Bounds what one turn
/// takes: requests of 32 pages each are mapped.
constexpr unsigned requests_per_event = 64;
constexpr std::size_t sector = block_sector_size;
} // namespace

BlockServer::BlockServer(const char* name) noexcept : name_{name} {
    batch_end_.owner = this;
    batch_end_.run = [](BatchEnd& end) {
        static_cast<OwnedBatchEnd&>(end).owner->retire_finished();
    };
}

Status BlockServer::connect(const Connection& connection) {
    guest_ = connection.guest;
    disk_ = connection.disk;
    read_only_ = connection.read_only;
    discard_ = connection.discard;
    unsigned slots = 0;
    for (turn_ = queue_count_ = 0; queue_count_ < connection.ring_count; ++queue_count_) {
        Queue& queue = queues_[queue_count_];
        queue.owner = this;
        TRY(queue.pages.map(guest_, connection.rings[queue_count_].refs, connection.ring_pages));
        queue.ring.attach(queue.pages.data(), queue.pages.bytes());
        slots += queue.ring.size();
    }
    TRY(allocate_jobs(slots < max_jobs ? slots : max_jobs));
    if (connection.persistent)
        TRY(kept_.allocate());
    for (unsigned i = 0; i < queue_count_; ++i)
        queues_[i].port =
            TRY(kernel::event::bind_interdomain(guest_, connection.rings[i].remote_port));
    return {};
}

void BlockServer::begin() noexcept {
    kernel::EventGuard masked;
    serving_ = true;
    for (unsigned i = 0; i < queue_count_; ++i) {
        queues_[i].active = true;
        kernel::event::set_guest_handler(
            queues_[i].port,
            [](kernel::event::Port, void* context) {
                auto& queue = *static_cast<Queue*>(context);
                queue.active = true;
                queue.owner->serve();
            },
            &queues_[i]);
    }
    raise_if_active(); // what came before the handlers were there
}

void BlockServer::disconnect() noexcept {
    serving_ = false;
    for (Queue& queue : queues_) {
        if (queue.port != 0)
            kernel::event::close(queue.port);
        queue.port = 0;
    }
    idle_.wait([this] { return in_flight_ == 0 && barrier_ == nullptr; });
    queue_count_ = 0;
    for (Queue& queue : queues_)
        queue.pages.unmap();
    kept_.release();
    free_jobs();
}

Status BlockServer::allocate_jobs(unsigned count) {
    TRY(pages_.reserve(std::size_t{count} * max_segments));
    for (; job_count_ < count; ++job_count_) {
        auto* job = new (std::nothrow) Job;
        if (job == nullptr)
            return Errno::nomem;
        job->pages = pages_.page(job_count_ * max_segments);
        jobs_[job_count_] = job;
        free_.push_back(*job);
    }
    return {};
}

void BlockServer::free_jobs() noexcept {
    while (free_.pop_front() != nullptr) {
    }
    while (job_count_ != 0)
        delete jobs_[--job_count_];
    pages_.release();
}

/// Takes requests while there are jobs for them. Event context (or events masked). Requests that
/// fail at once come back here through retire_finished(): then the running call goes on, it does
/// not nest.
void BlockServer::serve() noexcept {
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
        while (budget != 0 && !free_.empty() && barrier_ == nullptr) {
            std::uint32_t pending;
            Queue* const queue = next_active(pending);
            if (queue == nullptr)
                break;
            budget -= serve_batch(*queue, pending < budget ? pending : budget);
        }
        disk_->unplug();
    } while (serve_again_ && serving_ && budget != 0);
    in_serve_ = false;
    push_responses();
    if (budget == 0)
        raise_if_active();
}

void BlockServer::raise_if_active() noexcept {
    for (unsigned i = 0; serving_ && i < queue_count_; ++i)
        if (queues_[i].active)
            return kernel::event::raise(queues_[i].port);
}

void BlockServer::ignore_guest() noexcept {
    kernel::printk_limited(lines_, kernel::Level::error,
                           "blkback: %s: impossible ring index; the guest is ignored\n", name_);
    serving_ = false;
    for (unsigned i = 0; i < queue_count_; ++i)
        kernel::event::mask(queues_[i].port);
}

BlockServer::Queue* BlockServer::next_active(std::uint32_t& pending) noexcept {
    for (unsigned tried = 0; tried < queue_count_; ++tried) {
        Queue& queue = queues_[turn_];
        turn_ = turn_ + 1 == queue_count_ ? 0 : turn_ + 1;
        if (!queue.active)
            continue;
        pending = queue.ring.pending();
        if (pending != 0)
            return &queue;
        if (queue.ring.arm()) {
            pending = 1;
            return &queue;
        }
        queue.active = false;
        if (queue.ring.is_broken()) {
            ignore_guest();
            return nullptr;
        }
    }
    return nullptr;
}

unsigned BlockServer::serve_batch(Queue& queue, unsigned most) noexcept {
    unsigned map_count = 0;
    unsigned taken = 0;
    JobList batch;
    Job* barrier = nullptr;
    while (barrier == nullptr && taken < most && taken < jobs_per_batch && !free_.empty() &&
           map_count + max_segments <= map_room) {
        Job& job = *free_.pop_front();
        job.queue = &queue;
        cero_blkif_entry entry;
        queue.ring.take(entry);
        ++taken;
        Errno verdict = check_request(entry, job.plan);
        if (verdict == Errno::ok && job.plan.indirect)
            verdict = fetch_segments(job.plan);
        if (verdict == Errno::ok)
            verdict = admit(job.plan);
        if (verdict != Errno::ok) {
            respond(job, verdict);
            continue;
        }
        map_count = plan_maps(job, map_count);
        batch.push_back(job);
        if (job.plan.is_barrier)
            barrier = &job;
    }
    const bool mapped = map_count == 0 || kernel::grant::map(maps_, map_count).has_value();
    const MapRequest* map = maps_;
    while (Job* job = batch.pop_front()) {
        if (!finish_maps(*job, map, mapped)) {
            ++in_flight_;
            job->request.context = job;
            job->request.error = Errno::fault;
            completed(job->request);
        } else if (job == barrier) {
            barrier_ = job;
            start_barrier_if_idle();
        } else {
            submit(*job);
        }
    }
    return taken;
}

Errno BlockServer::admit(const Plan& plan) const noexcept {
    if (plan.op == BlockOp::read || plan.op == BlockOp::flush)
        return are_whole_blocks(plan, disk_->geometry().logical_sector_size) ? Errno::ok
                                                                             : Errno::inval;
    if (read_only_)
        return Errno::rofs;
    if (plan.op == BlockOp::write)
        return are_whole_blocks(plan, disk_->geometry().logical_sector_size) ? Errno::ok
                                                                             : Errno::inval;
    if (!discard_)
        return Errno::opnotsupp;
    // Done in parts: so the whole range is checked first.
    const std::uint64_t sectors = disk_->geometry().sectors;
    return plan.sector_count == 0 || plan.sector > sectors ||
                   plan.sector_count > sectors - plan.sector
               ? Errno::inval
               : Errno::ok;
}

Errno BlockServer::fetch_segments(Plan& plan) noexcept {
    kernel::grant::CopyRequest copy{};
    copy.source = {guest_, true, plan.indirect_ref, {}, 0};
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
        copies[i].target = {
            CERO_DOMID_SELF, false, 0, kernel::virt_to_mfn(to),
            static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(to) % kernel::page_size)};
        copies[i].length = static_cast<std::uint16_t>(i == 0 ? first : bytes - first);
    }
    const unsigned count = first == bytes ? 1 : 2;
    if (!kernel::grant::copy(copies, count) || copies[0].status != 0 ||
        (count == 2 && copies[1].status != 0))
        return Errno::inval;
    return check_segments(plan);
}

unsigned BlockServer::plan_maps(Job& job, unsigned count) noexcept {
    if (kept_.is_allocated())
        return plan_kept_maps(job, count);
    const bool is_write = job.plan.op == BlockOp::write;
    std::byte* page = job.pages;
    for (unsigned i = 0; i < job.plan.segment_count; ++i, page += kernel::page_size)
        maps_[count++] = {guest_, job.plan.segments[i].gref, is_write, page, 0, -1, invalid_handle,
                          0};
    return count;
}

unsigned BlockServer::plan_kept_maps(Job& job, unsigned count) noexcept {
    job.unsettled = 0;
    for (unsigned i = 0; i < job.plan.segment_count; ++i) {
        const kernel::grant::Ref ref = job.plan.segments[i].gref;
        bool is_new;
        PersistentGrants::Entry* const kept = kept_.acquire(ref, is_new);
        job.kept[i] = kept;
        if (kept != nullptr && !is_new)
            continue;
        job.unsettled |= 1u << i;
        std::byte* const page =
            kept != nullptr ? kept_.page(*kept) : job.pages + i * kernel::page_size;
        const bool is_readonly = kept == nullptr && job.plan.op == BlockOp::write;
        maps_[count++] = {guest_, ref, is_readonly, page, 0, -1, invalid_handle, 0};
    }
    return count;
}

namespace {

/// The bytes of a segment inside its mapped page.
BlockSegment bytes_of(const cero_blkif_segment& segment, std::uint64_t machine,
                      std::byte* page) noexcept {
    const std::size_t offset = segment.first_sect * sector;
    return {machine + offset, page + offset,
            static_cast<std::uint32_t>((segment.last_sect - segment.first_sect + 1u) * sector)};
}

} // namespace

bool BlockServer::finish_maps(Job& job, const MapRequest*& map, bool mapped) noexcept {
    if (kept_.is_allocated())
        return finish_kept_maps(job, map, mapped);
    bool good = mapped;
    std::byte* page = job.pages;
    for (unsigned i = 0; i < job.plan.segment_count; ++i, ++map, page += kernel::page_size) {
        const bool done = mapped && map->status == 0;
        job.handles[i] = done ? map->handle : invalid_handle;
        job.segments[i] = bytes_of(job.plan.segments[i], map->bus_address, page);
        good &= done;
    }
    return good;
}

bool BlockServer::finish_kept_maps(Job& job, const MapRequest*& map, bool mapped) noexcept {
    bool good = true;
    for (unsigned i = 0; i < job.plan.segment_count; ++i) {
        const cero_blkif_segment& segment = job.plan.segments[i];
        PersistentGrants::Entry* const kept = job.kept[i];
        const MapRequest* const fresh = (job.unsettled >> i & 1) != 0 ? map++ : nullptr;
        const bool done = fresh != nullptr && mapped && fresh->status == 0;
        if (kept == nullptr) {
            job.handles[i] = done ? fresh->handle : invalid_handle;
            job.segments[i] =
                bytes_of(segment, fresh->bus_address, job.pages + i * kernel::page_size);
            good &= done;
            continue;
        }
        if (done)
            kept_.settle(*kept, *fresh);
        job.segments[i] = bytes_of(segment, kept->machine, kept_.page(*kept));
        good &= kept->handle != invalid_handle;
    }
    return good;
}

} // namespace drivers::blkif
