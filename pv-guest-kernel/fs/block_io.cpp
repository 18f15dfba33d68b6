// SPDX-License-Identifier: BSD-2-Clause
// Block transfers: up to a few requests in flight, one sleeper.
#include "block_io.hpp"
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

namespace kernel::block_io {

using drivers::BlockDevice;
using drivers::BlockOp;
using drivers::BlockRequest;
using drivers::BlockSegment;

namespace {

struct Batch {
    WaitQueue queue;
    cero::Atomic<std::uint32_t> pending{0};
    Errno error{Errno::ok};
};

void finished(BlockRequest& request) {
    auto& batch = *static_cast<Batch*>(request.context);
    if (request.error != Errno::ok)
        batch.error = request.error;
    if (batch.pending.fetch_sub(1, cero::Order::acq_rel) == 1)
        batch.queue.wake_all();
}

void start(BlockDevice& device, BlockRequest& request, Batch& batch) noexcept {
    request.complete = finished;
    request.context = &batch;
    batch.pending.fetch_add(1, cero::Order::relaxed);
    device.submit(request);
}

void wait(Batch& batch) noexcept {
    if (batch.pending.load(cero::Order::acquire) != 0)
        batch.queue.wait([&] { return batch.pending.load(cero::Order::acquire) == 0; });
}

} // namespace

BlockSegment segment_of(void* data, std::size_t length) noexcept {
    return {virt_to_machine(data), static_cast<std::byte*>(data),
            static_cast<std::uint32_t>(length)};
}

Status transfer(BlockDevice& device, BlockOp op, std::uint64_t sector, BlockSegment* segments,
                std::size_t count) noexcept {
    constexpr std::size_t in_flight = 4;
    const std::size_t most =
        device.geometry().max_segments == 0 ? 1 : device.geometry().max_segments;
    Batch batch;
    while (count != 0 && batch.error == Errno::ok) {
        BlockRequest requests[in_flight];
        device.plug();
        for (std::size_t i = 0; i < in_flight && count != 0; ++i) {
            BlockRequest& request = requests[i];
            request.op = op;
            request.sector = sector;
            request.segments = segments;
            request.segment_count = static_cast<std::uint32_t>(count < most ? count : most);
            request.sector_count = 0;
            for (std::uint32_t s = 0; s < request.segment_count; ++s)
                request.sector_count += segments[s].length / drivers::block_sector_size;
            sector += request.sector_count;
            segments += request.segment_count;
            count -= request.segment_count;
            start(device, request, batch);
        }
        device.unplug();
        wait(batch);
    }
    return batch.error;
}

Status flush(BlockDevice& device) noexcept {
    if (!device.geometry().has_flush)
        return {};
    Batch batch;
    BlockRequest request;
    request.op = BlockOp::flush;
    start(device, request, batch);
    wait(batch);
    return batch.error;
}

} // namespace kernel::block_io
