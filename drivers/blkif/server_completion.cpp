// SPDX-License-Identifier: BSD-2-Clause
// A BlockServer's way from the disk back to the rings; requests of several steps.
#include "server.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>

namespace drivers::blkif {

using kernel::grant::invalid_handle;

namespace {

/// The part of a range that one request to the disk may discard. Parts end at whole granules, so
/// that none is lost to rounding.
std::uint64_t discard_part(const BlockGeometry& geometry, std::uint64_t sector,
                           std::uint64_t count) noexcept {
    if (count <= geometry.max_discard_sectors)
        return count;
    const std::uint64_t granule = geometry.discard_granularity / block_sector_size;
    const std::uint64_t most = geometry.max_discard_sectors;
    if (granule < 2 || most < 2 * granule)
        return most;
    const std::uint64_t start = geometry.discard_alignment / block_sector_size;
    const std::uint64_t over = (sector + most + granule - start % granule) % granule;
    return most - over;
}

} // namespace

void BlockServer::submit(Job& job) noexcept {
    ++in_flight_;
    BlockRequest& request = job.request;
    request.op = job.plan.is_barrier ? BlockOp::flush : job.plan.op;
    request.force_unit_access = false;
    const bool has_range = request.op != BlockOp::flush;
    request.sector = has_range ? job.plan.sector : 0;
    request.sector_count = has_range ? job.plan.sector_count : 0;
    request.segments = job.segments;
    request.segment_count = has_range ? job.plan.segment_count : 0;
    request.context = &job;
    request.complete = completed;
    if (request.op == BlockOp::discard)
        request.sector_count =
            discard_part(disk_->geometry(), job.plan.sector, job.plan.sector_count);
    job.plan.done = request.op == BlockOp::discard ? request.sector_count : 0;
    disk_->submit(request);
}

bool BlockServer::submit_rest(Job& job) noexcept {
    BlockRequest& request = job.request;
    const Plan& plan = job.plan;
    if (job.outcome != Errno::ok)
        return false;
    if (plan.is_barrier && request.op == BlockOp::flush && plan.segment_count != 0) {
        // What came before is durable: now the barrier's own data, durable too when it is answered.
        request.op = BlockOp::write;
        request.force_unit_access = true;
        request.sector = plan.sector;
        request.sector_count = plan.sector_count;
        request.segment_count = plan.segment_count;
    } else if (plan.op == BlockOp::discard && plan.done != plan.sector_count) {
        request.sector = plan.sector + plan.done;
        request.sector_count =
            discard_part(disk_->geometry(), request.sector, plan.sector_count - plan.done);
        job.plan.done += request.sector_count;
    } else {
        return false;
    }
    disk_->submit(request);
    return true;
}

void BlockServer::start_barrier_if_idle() noexcept {
    if (barrier_ != nullptr && in_flight_ == 0)
        submit(*barrier_);
}

void BlockServer::completed(BlockRequest& request) {
    Job& job = *static_cast<Job*>(request.context);
    BlockServer& self = *job.queue->owner;
    job.outcome = request.error;
    kernel::EventGuard masked;
    self.finished_.push_back(job);
    CompletionBatch::at_end(self.batch_end_);
}

/// Answers finished jobs after their pages are unmapped: the guest may reuse a page only then. A
/// disk that completes inside submit() comes back here; then the running call goes on.
void BlockServer::retire_finished() noexcept {
    kernel::EventGuard masked;
    if (in_retire_)
        return;
    in_retire_ = true;
    bool progress = false;
    while (!finished_.empty()) {
        JobList retired;
        release_pages(retired);
        while (Job* job = retired.pop_front()) {
            if (job == barrier_)
                barrier_ = nullptr;
            --in_flight_;
            respond(*job, job->outcome);
            progress = true;
        }
        start_barrier_if_idle();
    }
    in_retire_ = false;
    if (!progress)
        return;
    // Jobs are free again. Queues that are not active have asked for an event. More work of the
    // guest's is not done here, where nobody accounts for it.
    if (in_serve_) {
        serve_again_ = is_any_active();
    } else {
        push_responses();
        raise_if_active();
    }
    if (in_flight_ == 0)
        idle_.wake_all();
}

bool BlockServer::is_any_active() const noexcept {
    for (unsigned i = 0; i < queue_count_; ++i)
        if (queues_[i].active)
            return true;
    return false;
}

unsigned BlockServer::list_unmaps(Job& job, unsigned count) noexcept {
    std::byte* page = job.pages;
    for (unsigned i = 0; i < job.plan.segment_count; ++i, page += kernel::page_size)
        if (job.handles[i] != invalid_handle)
            unmaps_[count++] = {page, 0, job.handles[i], 0};
    return count;
}

unsigned BlockServer::put_kept_pages(Job& job, unsigned count) noexcept {
    for (unsigned i = 0; i < job.plan.segment_count; ++i)
        if (job.kept[i] != nullptr)
            kept_.put(*job.kept[i]);
        else if (job.handles[i] != invalid_handle)
            unmaps_[count++] = {job.pages + i * kernel::page_size, 0, job.handles[i], 0};
    return count;
}

void BlockServer::release_pages(JobList& retired) noexcept {
    unsigned count = 0;
    while (count + max_segments <= unmap_room) {
        Job* const job = finished_.pop_front();
        if (job == nullptr)
            break;
        if ((job->plan.is_barrier || job->plan.op == BlockOp::discard) && submit_rest(*job))
            continue;
        count = kept_.is_allocated() ? put_kept_pages(*job, count) : list_unmaps(*job, count);
        retired.push_back(*job);
    }
    if (count != 0 && !kernel::grant::unmap(unmaps_, count))
        kernel::printk(kernel::Level::error, "blkback: %s: cannot unmap\n", name_);
}

/// Puts the response on the ring and frees the job.
void BlockServer::respond(Job& job, Errno outcome) noexcept {
    job.queue->ring.put(
        cero_blkif_response{job.plan.id, job.plan.response_op, 0, status_of(outcome), 0});
    free_.push_back(job);
}

void BlockServer::push_responses() noexcept {
    for (unsigned i = 0; i < queue_count_; ++i)
        if (queues_[i].ring.push() && queues_[i].port != 0)
            kernel::event::notify(queues_[i].port);
}

} // namespace drivers::blkif
