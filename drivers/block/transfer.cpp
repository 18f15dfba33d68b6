// SPDX-License-Identifier: BSD-2-Clause
// Sleeping block I/O for callers without an event loop: partition scans, tests, simple file
// systems.
#include <cero/driver/block.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

namespace drivers {

namespace {

using kernel::page_size;
constexpr unsigned segments_at_once = 32;

struct Completion {
    kernel::WaitQueue queue;
    bool done{};
};

void wake(BlockRequest& request) {
    auto& completion = *static_cast<Completion*>(request.context);
    completion.done = true;
    completion.queue.wake_all();
}

/// Submits and sleeps.
Status run(BlockDevice& device, BlockRequest& request) {
    Completion completion;
    request.complete = wake;
    request.context = &completion;
    device.submit(request);
    completion.queue.wait([&] { return completion.done; });
    if (request.error != Errno::ok)
        return request.error;
    return {};
}

} // namespace

Status block_transfer(BlockDevice& device, BlockOp op, std::uint64_t sector, void* data,
                      std::size_t length) {
    if (op == BlockOp::flush || op == BlockOp::discard) {
        BlockRequest request;
        request.op = op;
        request.sector = sector;
        request.sector_count = op == BlockOp::discard ? length / block_sector_size : 0;
        return run(device, request);
    }
    const unsigned most = device.geometry().max_segments < segments_at_once
                              ? device.geometry().max_segments
                              : segments_at_once;
    BlockSegment segments[segments_at_once];
    auto* at = static_cast<std::byte*>(data);
    while (length != 0) {
        unsigned count = 0;
        std::size_t bytes = 0;
        while (length != 0 && count < most) {
            const std::size_t in_page = reinterpret_cast<std::uintptr_t>(at) % page_size;
            const std::size_t chunk = length < page_size - in_page ? length : page_size - in_page;
            segments[count++] = {kernel::virt_to_machine(at), at,
                                 static_cast<std::uint32_t>(chunk)};
            at += chunk;
            bytes += chunk;
            length -= chunk;
        }
        BlockRequest request;
        request.op = op;
        request.sector = sector;
        request.sector_count = bytes / block_sector_size;
        request.segments = segments;
        request.segment_count = count;
        TRY(run(device, request));
        sector += request.sector_count;
    }
    return {};
}

} // namespace drivers
