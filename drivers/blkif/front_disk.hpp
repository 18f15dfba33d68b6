// SPDX-License-Identifier: BSD-2-Clause
// FrontDisk: the block device on this side of a ring whose other end is a backend.
#pragma once

#include "../ring/ring.hpp"
#include "front_pages.hpp"
#include "request.hpp"

#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/sync.hpp>

namespace drivers::blkif {

/// What the backend announced and this side makes use of.
struct BackendFeatures {
    bool flush{};
    bool persistent{};
    unsigned indirect_segments{};
};

/// Lives as long as somebody holds it; after close_channel() it is a shell that fails.
class FrontDisk final : public BlockDevice {
public:
    static constexpr unsigned max_ring_order = 1;
    static constexpr unsigned max_ring_pages = 1u << max_ring_order;

    FrontDisk(const char* name, kernel::DomainId backend) noexcept;

    /// Ring pages and port, shared with the backend.
    Status open_channel(unsigned ring_order);
    /// Gives everything shared back. Requests still with the backend end with an error.
    void close_channel() noexcept;
    /// The backend is connected: requests may flow. nomem, nospc: no pages for persistent grants.
    Status go_live(const BlockGeometry& geometry, const BackendFeatures& features) noexcept;
    /// Waits until the backend has answered everything.
    void drain();
    [[nodiscard]] unsigned ring_pages() const noexcept { return ring_pages_; }
    [[nodiscard]] kernel::grant::Ref ring_ref(unsigned page) const noexcept {
        return ring_refs_[page];
    }
    [[nodiscard]] kernel::event::Port port() const noexcept { return port_; }

    void plug() noexcept override;
    void unplug() noexcept override;
    /// For a disk that was never registered.
    void destroy() noexcept { delete this; }

private:
    /// A request on the ring; its index is the protocol's id.
    struct Slot {
        BlockRequest* request{};
        Slot* next_free{};
        unsigned lent_count{};
        std::uint32_t lent[max_segments]{}; ///< references, or numbers of persistent pages
        cero_blkif_segment*
            list{}; ///< page for the segments of an indirect request, made on first use
        kernel::grant::Ref list_ref{kernel::grant::invalid_ref};
        bool flushing{}; ///< the write is done, its flush (force unit access) is not
    };
    static constexpr unsigned slot_count = CERO_BLKIF_RING_ENTRIES_1PAGE << max_ring_order;

    ~FrontDisk() override = default;
    void released() noexcept override { delete this; }
    void start(BlockRequest& request) noexcept override;

    void kick() noexcept;
    /// Puts a request on the ring. False: no slot, or no grants left; it has to wait then.
    bool enqueue(BlockRequest& request) noexcept;
    bool put(Slot& slot, BlockOp op) noexcept;
    bool put_transfer(Slot& slot, std::uint8_t operation) noexcept;
    bool prepare_list(Slot& slot) noexcept;
    /// Lends the pages of a transfer; all or none.
    bool lend_segments(Slot& slot, cero_blkif_segment* out) noexcept;
    [[nodiscard]] std::uint32_t lend_page(const BlockSegment& segment, bool is_write) noexcept;
    void take_back(Slot& slot) noexcept;
    /// What the backend read into persistent pages goes to where it was wanted.
    void copy_out(Slot& slot) noexcept;

    void handle_responses() noexcept;
    void accept(const cero_blkif_response& response, BlockRequestList& finished) noexcept;
    void retire(Slot& slot, Errno outcome, BlockRequestList& finished) noexcept;
    static void complete_all(BlockRequestList& requests) noexcept;

    kernel::DomainId backend_;
    kernel::Spinlock lock_;
    bool live_{};
    FrontRing<cero_blkif_entry, cero_blkif_response> ring_;
    std::byte* ring_memory_{};
    unsigned ring_pages_{};
    kernel::grant::Ref ring_refs_[max_ring_pages]{};
    kernel::event::Port port_{};
    BackendFeatures features_{};
    FrontPages pages_;
    BlockRequestList waiting_;
    Slot slots_[slot_count];
    Slot* free_{};
    unsigned in_flight_{};
    unsigned plugged_{};
    kernel::WaitQueue idle_;
};

} // namespace drivers::blkif
