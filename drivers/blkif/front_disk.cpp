// SPDX-License-Identifier: BSD-2-Clause
// FrontDisk: requests onto the ring, responses off it.
#include "front_disk.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <cstring>

namespace drivers::blkif {

using kernel::grant::invalid_ref;

namespace {
constexpr unsigned direct_segments = CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST;
constexpr std::uint32_t not_lent = ~std::uint32_t{0};
static_assert(invalid_ref == not_lent && FrontPages::none == not_lent);
} // namespace

FrontDisk::FrontDisk(const char* name, kernel::DomainId backend) noexcept
    : backend_{backend}, pages_{backend} {
    set_name(name);
    for (Slot& slot : slots_) {
        slot.next_free = free_;
        free_ = &slot;
    }
}

Status FrontDisk::open_channel(unsigned ring_order) {
    auto* const memory = static_cast<std::byte*>(kernel::alloc_pages(ring_order));
    if (memory == nullptr)
        return Errno::nomem;
    const std::size_t bytes = kernel::page_size << ring_order;
    std::memset(memory, 0, bytes);
    ring_memory_ = memory;
    ring_.initialise(memory, bytes);
    for (unsigned i = 0; i < 1u << ring_order; ++i) {
        ring_refs_[i] = invalid_ref;
        ++ring_pages_;
        ring_refs_[i] = TRY(kernel::grant::offer(
            backend_, kernel::virt_to_mfn(memory + i * kernel::page_size), false));
    }
    port_ = TRY(kernel::event::alloc_unbound(backend_));
    kernel::event::set_handler(
        port_,
        [](kernel::event::Port, void* self) { static_cast<FrontDisk*>(self)->handle_responses(); },
        this);
    return {};
}

void FrontDisk::close_channel() noexcept {
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
    for (unsigned i = 0; i < ring_pages_; ++i) {
        std::byte* const page = ring_memory_ + i * kernel::page_size;
        if (ring_refs_[i] != invalid_ref)
            kernel::grant::withdraw_deferred(ring_refs_[i], page);
        else
            kernel::free_pages(page, 0);
    }
    ring_pages_ = 0;
    ring_memory_ = nullptr;
    pages_.withdraw();
    complete_all(failed);
}

Status FrontDisk::go_live(const BlockGeometry& geometry, const BackendFeatures& features) noexcept {
    // So that one request can go even when no page is left later.
    if (features.persistent)
        TRY(pages_.grow(max_segments));
    kernel::SpinGuard guard{lock_};
    geometry_ = geometry;
    geometry_.max_segments =
        features.indirect_segments > direct_segments ? features.indirect_segments : direct_segments;
    features_ = features;
    live_ = true;
    return {};
}

void FrontDisk::drain() {
    idle_.wait([this] { return (in_flight_ == 0 && waiting_.empty()) || !live_; });
}

void FrontDisk::plug() noexcept {
    kernel::SpinGuard guard{lock_};
    ++plugged_;
}

void FrontDisk::unplug() noexcept {
    kernel::SpinGuard guard{lock_};
    if (--plugged_ == 0)
        kick();
}

void FrontDisk::start(BlockRequest& request) noexcept {
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

void FrontDisk::kick() noexcept {
    if (live_ && ring_.push())
        kernel::event::notify(port_);
}

bool FrontDisk::enqueue(BlockRequest& request) noexcept {
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

bool FrontDisk::put(Slot& slot, BlockOp op) noexcept {
    const BlockRequest& request = *slot.request;
    const auto id = static_cast<std::uint64_t>(&slot - slots_);
    switch (op) {
    case BlockOp::discard:
        ring_.put(cero_blkif_request_discard{CERO_BLKIF_OP_DISCARD, 0, 0, 0, id, request.sector,
                                             request.sector_count});
        return true;
    case BlockOp::flush: {
        cero_blkif_request flush{};
        flush.id = id;
        flush.operation = static_cast<std::uint8_t>(features_.flush ? CERO_BLKIF_OP_FLUSH_DISKCACHE
                                                                    : CERO_BLKIF_OP_WRITE_BARRIER);
        ring_.put(flush);
        return true;
    }
    case BlockOp::write:
        return put_transfer(slot, CERO_BLKIF_OP_WRITE);
    default:
        return put_transfer(slot, CERO_BLKIF_OP_READ);
    }
}

bool FrontDisk::put_transfer(Slot& slot, std::uint8_t operation) noexcept {
    const BlockRequest& request = *slot.request;
    const auto id = static_cast<std::uint64_t>(&slot - slots_);
    if (request.segment_count <= direct_segments) {
        cero_blkif_request direct{};
        if (!lend_segments(slot, direct.seg))
            return false;
        direct.id = id;
        direct.operation = operation;
        direct.nr_segments = static_cast<std::uint8_t>(request.segment_count);
        direct.sector_number = request.sector;
        ring_.put(direct);
        return true;
    }
    if (!prepare_list(slot) || !lend_segments(slot, slot.list))
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

bool FrontDisk::prepare_list(Slot& slot) noexcept {
    if (slot.list != nullptr)
        return true;
    auto* page = static_cast<cero_blkif_segment*>(kernel::alloc_zeroed_page());
    if (page == nullptr)
        return false;
    // With persistent grants the backend maps every page writable, this one too.
    auto ref = kernel::grant::offer(backend_, kernel::virt_to_mfn(page), !features_.persistent);
    if (!ref) {
        kernel::free_pages(page, 0);
        return false;
    }
    slot.list = page;
    slot.list_ref = *ref;
    return true;
}

bool FrontDisk::lend_segments(Slot& slot, cero_blkif_segment* out) noexcept {
    const BlockRequest& request = *slot.request;
    const bool is_write = request.op == BlockOp::write;
    for (slot.lent_count = 0; slot.lent_count < request.segment_count; ++slot.lent_count) {
        const BlockSegment& segment = request.segments[slot.lent_count];
        const std::uint64_t offset = segment.machine % kernel::page_size;
        const std::uint32_t lent = lend_page(segment, is_write);
        if (lent == not_lent) {
            take_back(slot);
            return false;
        }
        slot.lent[slot.lent_count] = lent;
        out[slot.lent_count] = {
            features_.persistent ? pages_.ref(lent) : lent,
            static_cast<std::uint8_t>(offset / block_sector_size),
            static_cast<std::uint8_t>((offset + segment.length - 1) / block_sector_size), 0};
    }
    return true;
}

std::uint32_t FrontDisk::lend_page(const BlockSegment& segment, bool is_write) noexcept {
    if (!features_.persistent) {
        const kernel::MachineFrame frame{segment.machine >> kernel::page_shift};
        return kernel::grant::offer(backend_, frame, is_write).value_or(not_lent);
    }
    const FrontPages::Index index = pages_.take();
    if (index != FrontPages::none && is_write)
        std::memcpy(pages_.data(index) + segment.machine % kernel::page_size, segment.data,
                    segment.length);
    return index;
}

void FrontDisk::take_back(Slot& slot) noexcept {
    for (unsigned i = 0; i < slot.lent_count; ++i) {
        if (features_.persistent) {
            pages_.put(slot.lent[i]);
        } else if (!kernel::grant::withdraw(slot.lent[i])) {
            kernel::printk(kernel::Level::error, "%s: the backend keeps a page\n", name());
            kernel::grant::withdraw_deferred(slot.lent[i], nullptr);
        }
    }
    slot.lent_count = 0;
}

void FrontDisk::copy_out(Slot& slot) noexcept {
    const BlockRequest& request = *slot.request;
    for (unsigned i = 0; i < slot.lent_count; ++i) {
        const BlockSegment& segment = request.segments[i];
        std::memcpy(segment.data, pages_.data(slot.lent[i]) + segment.machine % kernel::page_size,
                    segment.length);
    }
}

void FrontDisk::handle_responses() noexcept {
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

void FrontDisk::accept(const cero_blkif_response& response, BlockRequestList& finished) noexcept {
    if (response.id >= slot_count || slots_[response.id].request == nullptr) {
        kernel::printk(kernel::Level::error, "%s: response to no request; disk disabled\n", name());
        live_ = false;
        return;
    }
    Slot& slot = slots_[response.id];
    const BlockRequest& request = *slot.request;
    const bool is_good = response.status == CERO_BLKIF_RSP_OKAY;
    if (is_good && request.op == BlockOp::write && request.force_unit_access &&
        geometry_.has_flush && !slot.flushing && ring_.free_slots() != 0) {
        take_back(slot);
        slot.flushing = true;
        static_cast<void>(put(slot, BlockOp::flush));
        return;
    }
    if (is_good && features_.persistent && request.op == BlockOp::read)
        copy_out(slot);
    retire(slot,
           is_good                                        ? Errno::ok
           : response.status == CERO_BLKIF_RSP_EOPNOTSUPP ? Errno::opnotsupp
                                                          : Errno::io,
           finished);
}

void FrontDisk::retire(Slot& slot, Errno outcome, BlockRequestList& finished) noexcept {
    take_back(slot);
    slot.request->error = outcome;
    finished.push_back(*slot.request);
    slot.request = nullptr;
    slot.next_free = free_;
    free_ = &slot;
    --in_flight_;
}

void FrontDisk::complete_all(BlockRequestList& requests) noexcept {
    const CompletionBatch batch;
    while (BlockRequest* request = requests.pop_front())
        request->complete(*request);
}

} // namespace drivers::blkif
