// SPDX-License-Identifier: BSD-2-Clause
// BlockServer: carries out what a guest writes on the rings of one disk.
//
//   rings ─take─▶ Plan (private copy, checked) ─▶ grants mapped, many at once ─▶
//   BlockDevice::submit rings ◀─respond── grants unmapped, many at once ◀── end of a batch of
//   completions ◀──┘
//
// Runs in event context: no thread, no wake-up. A pool of jobs serves all rings in turn; requests
// beyond it wait in the guest's own rings. Nothing that the guest writes is read twice.
#pragma once

#include "../ring/grant_pages.hpp"
#include "../ring/ring.hpp"
#include "persistent_grants.hpp"
#include "request.hpp"

#include <kernel/event.hpp>
#include <kernel/log_limiter.hpp>
#include <kernel/sync.hpp>

namespace drivers::blkif {

inline constexpr unsigned max_queues = 4;
inline constexpr unsigned max_ring_order = 2;
inline constexpr unsigned max_ring_pages = 1u << max_ring_order;
static_assert(max_ring_pages <= MappedRing::max_pages);

/// What the two ends agreed on.
struct Connection {
    struct Ring {
        kernel::grant::Ref refs[max_ring_pages]{};
        kernel::event::Port remote_port{};
    };
    kernel::DomainId guest{};
    BlockDevice* disk{};
    bool read_only{true};
    bool discard{};
    bool persistent{}; ///< the guest uses the same pages again and again: they stay mapped
    unsigned ring_count{};
    unsigned ring_pages{};
    Ring rings[max_queues]{};
};

/// Thread context for connect(), begin(), disconnect().
class BlockServer {
public:
    explicit BlockServer(const char* name) noexcept;
    BlockServer(const BlockServer&) = delete;
    BlockServer& operator=(const BlockServer&) = delete;
    ~BlockServer() { disconnect(); }

    /// Maps the rings, binds the ports, makes the jobs. After a failure: disconnect().
    Status connect(const Connection& connection);
    /// From now on requests are served, those that wait already first.
    void begin() noexcept;
    /// No more requests; those in flight are awaited, every grant and port given back.
    void disconnect() noexcept;

private:
    struct Queue {
        BlockServer* owner{};
        MappedRing pages;
        BackRing<cero_blkif_entry, cero_blkif_response> ring;
        kernel::event::Port port{};
        bool active{}; ///< may hold requests; else an event was asked for
    };
    /// A request being carried out.
    struct Job {
        Queue* queue{};
        cero::ListLink link{}; ///< free, batch or finished
        std::byte* pages{};    ///< max_segments reserved pages
        Plan plan{};
        BlockRequest request{};
        BlockSegment segments[max_segments]{};
        kernel::grant::Handle handles[max_segments]{}; ///< mapped for this request only
        PersistentGrants::Entry* kept[max_segments]{};
        std::uint32_t unsettled{}; ///< bit per segment: its map request is on the way
        Errno outcome{Errno::ok};
    };
    using JobList = cero::IntrusiveList<Job, &Job::link>;
    struct OwnedBatchEnd : BatchEnd {
        BlockServer* owner{};
    };
    static constexpr unsigned max_jobs = 64;
    static constexpr unsigned jobs_per_batch = 8; ///< whose grants are mapped by one hypercall
    static constexpr unsigned map_room =
        jobs_per_batch * CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST + max_segments;
    static constexpr unsigned unmap_room = 4 * max_segments;

    Status allocate_jobs(unsigned count);
    void free_jobs() noexcept;

    void serve() noexcept;
    /// The queue whose turn it is, with at least `pending` requests waiting; null when there is
    /// none.
    Queue* next_active(std::uint32_t& pending) noexcept;
    [[nodiscard]] bool is_any_active() const noexcept;
    /// Has serve() called again when a queue may hold requests: by the event of that queue's port,
    /// so that the kernel decides when.
    void raise_if_active() noexcept;
    /// Of a guest that broke the protocol no event is taken until disconnect().
    void ignore_guest() noexcept;
    /// Copies and checks up to `most` requests that wait, maps all their pages at once, submits
    /// them; how many.
    unsigned serve_batch(Queue& queue, unsigned most) noexcept;
    /// Whether the request may run on this disk.
    [[nodiscard]] Errno admit(const Plan& plan) const noexcept;
    /// Copies the segment list of an indirect request out of the guest, once, and checks it.
    Errno fetch_segments(Plan& plan) noexcept;
    /// Adds the map requests of a job; the results come to finish_maps().
    unsigned plan_maps(Job& job, unsigned count) noexcept;
    unsigned plan_kept_maps(Job& job, unsigned count) noexcept;
    /// True when all pages of the job are there. Moves `map` on.
    bool finish_maps(Job& job, const kernel::grant::MapRequest*& map, bool mapped) noexcept;
    bool finish_kept_maps(Job& job, const kernel::grant::MapRequest*& map, bool mapped) noexcept;

    void submit(Job& job) noexcept;
    /// Starts what is left to do of a request after a part of it succeeded; false: nothing is.
    bool submit_rest(Job& job) noexcept;
    void start_barrier_if_idle() noexcept;
    static void completed(BlockRequest& request);
    void retire_finished() noexcept;
    /// Gives the pages of some finished jobs back, by one hypercall.
    void release_pages(JobList& retired) noexcept;
    /// Both add the unmap requests of a job; their new number.
    unsigned list_unmaps(Job& job, unsigned count) noexcept;
    unsigned put_kept_pages(Job& job, unsigned count) noexcept;
    void respond(Job& job, Errno outcome) noexcept;
    void push_responses() noexcept;

    const char* name_;
    kernel::LogLimiter lines_;
    kernel::DomainId guest_{};
    BlockDevice* disk_{};
    bool read_only_{true};
    bool discard_{};
    bool serving_{};
    bool in_serve_{};
    bool serve_again_{};
    bool in_retire_{};
    // Members, as they are too large for a stack that an event may find half used.
    kernel::grant::MapRequest maps_[map_room];
    kernel::grant::UnmapRequest unmaps_[unmap_room];
    Queue queues_[max_queues];
    unsigned queue_count_{};
    unsigned turn_{};
    PersistentGrants kept_;
    GrantPages pages_;
    Job* jobs_[max_jobs]{};
    unsigned job_count_{};
    JobList free_;
    JobList finished_;
    Job* barrier_{}; ///< holds everything after it back, and waits for everything before it
    OwnedBatchEnd batch_end_;
    unsigned in_flight_{};
    kernel::WaitQueue idle_;
};

} // namespace drivers::blkif
