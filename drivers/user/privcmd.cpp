// SPDX-License-Identifier: BSD-2-Clause
// /dev/xen/privcmd and /dev/xen/hypercall: dom0 programs make hypercalls, map foreign frames, get
// call buffers.
#include "ioctl.hpp"

#include <cero/abi/hypercall.h>
#include <cero/abi/memory.h>
#include <cero/abi/types.h>
#include <kernel/boot.hpp>
#include <kernel/device.hpp>
#include <kernel/hypercall.hpp>
#include <kernel/initcall.hpp>
#include <kernel/mapping.hpp>
#include <kernel/memory.hpp>

namespace drivers::user {

namespace {

using kernel::Errno;
using kernel::File;
using kernel::MachineFrame;
using kernel::Result;
using kernel::Status;
using kernel::UserAddress;
using kernel::Vma;

constexpr std::size_t frames_at_once = 256;
constexpr std::uint64_t v1_error_nibble = 0xf000'0000;
constexpr std::uint64_t max_batch = std::uint64_t{1} << 24;

/// An area that stays empty until an ioctl maps foreign frames into it.
class ForeignArea final : public kernel::Mappable {
public:
    Result<kernel::Page*> get_page(std::uint64_t, bool) override { return Errno::nxio; }
    void map_get() override {}
    void map_put() override {}
    Status mapped(Vma& area) override {
        area.device = true;
        area.dont_copy = true;
        return {};
    }
};
constinit ForeignArea foreign_area;

/// Plain memory that is present from the start, so the hypervisor can read and write it.
class BufferArea final : public kernel::Mappable {
public:
    Result<kernel::Page*> get_page(std::uint64_t, bool) override { return Errno::nxio; }
    void map_get() override {}
    void map_put() override {}
    Status mapped(Vma& area) override {
        area.device = true;
        area.dont_copy = true;
        for (UserAddress at = area.start; at < area.end; at += kernel::page_size) {
            kernel::Page* page = kernel::alloc_zeroed(kernel::PageUse::anonymous);
            if (page == nullptr)
                return Errno::nomem;
            const Status mapped = kernel::map_user_page(area, at, *page);
            page->put(); // the mapping holds it now
            if (!mapped)
                return mapped.error();
        }
        return {};
    }
};
constinit BufferArea buffer_area;

/// The foreign area that holds [address, address + pages), or an error.
Result<Vma*> area_for(UserAddress address, std::uint64_t pages) {
    if (address % kernel::page_size != 0 || pages == 0 || pages > max_batch)
        return Errno::inval;
    Vma* area = kernel::find_vma(address);
    if (area == nullptr || area->mappable != &foreign_area || address < area->start ||
        pages > (area->end - address) / kernel::page_size)
        return Errno::inval;
    return area;
}

/// Scratch for one batch of frames and their errors.
struct Batch {
    std::uint64_t raw[frames_at_once];
    MachineFrame frames[frames_at_once];
    int errors[frames_at_once];
};
class BatchMemory {
public:
    BatchMemory() noexcept : batch_{static_cast<Batch*>(kernel::kmalloc(sizeof(Batch)))} {}
    BatchMemory(const BatchMemory&) = delete;
    BatchMemory& operator=(const BatchMemory&) = delete;
    ~BatchMemory() { kernel::kfree(batch_); }
    [[nodiscard]] Batch* get() const noexcept { return batch_; }

private:
    Batch* batch_;
};

/// Maps user-given frames; calls report(first, count, batch) -> Status after each batch.
template <typename Report>
Status map_batches(UserAddress address, std::uint64_t frames_at, std::uint64_t total,
                   kernel::DomainId owner, Report report) {
    BatchMemory memory;
    Batch* batch = memory.get();
    if (batch == nullptr)
        return Errno::nomem;
    for (std::uint64_t first = 0; first < total; first += frames_at_once) {
        const std::size_t count = total - first < frames_at_once ? total - first : frames_at_once;
        TRY(kernel::copy_from_user(batch->raw, frames_at + first * 8, count * 8));
        for (std::size_t i = 0; i < count; ++i)
            batch->frames[i] = MachineFrame{batch->raw[i]};
        // The copies may have slept: look the area up again for each batch.
        Vma* area = TRY(area_for(address + first * kernel::page_size, count));
        TRY(kernel::map_user_frames(*area, address + first * kernel::page_size, batch->frames,
                                    count, owner, batch->errors));
        TRY(report(first, count, *batch));
    }
    return {};
}

Result<std::int64_t> mmap_batch_v2(UserAddress argument) {
    const auto request = TRY(kernel::read_user<PrivcmdMmapBatchV2>(argument));
    if (const auto area = area_for(request.address, request.count); !area)
        return area.error();
    bool paged_out = false;
    TRY(map_batches(request.address, request.frames, request.count, request.domain,
                    [&](std::uint64_t first, std::size_t count, Batch& batch) -> Status {
                        for (std::size_t i = 0; i < count; ++i)
                            paged_out |= batch.errors[i] == -static_cast<int>(Errno::noent);
                        return kernel::copy_to_user(request.errors + first * sizeof(int),
                                                    batch.errors, count * sizeof(int));
                    }));
    if (paged_out)
        return Errno::noent;
    return std::int64_t{0};
}

Result<std::int64_t> mmap_batch(UserAddress argument) {
    const auto request = TRY(kernel::read_user<PrivcmdMmapBatch>(argument));
    if (request.count <= 0)
        return Errno::inval;
    const auto total = static_cast<std::uint64_t>(request.count);
    if (const auto area = area_for(request.address, total); !area)
        return area.error();
    TRY(map_batches(request.address, request.frames, total, request.domain,
                    [&](std::uint64_t first, std::size_t count, Batch& batch) -> Status {
                        for (std::size_t i = 0; i < count; ++i)
                            if (batch.errors[i] != 0)
                                batch.raw[i] |= v1_error_nibble;
                        return kernel::copy_to_user(request.frames + first * 8, batch.raw,
                                                    count * 8);
                    }));
    return std::int64_t{0};
}

Result<std::int64_t> mmap_ranges(UserAddress argument) {
    const auto request = TRY(kernel::read_user<PrivcmdMmap>(argument));
    if (request.count <= 0)
        return Errno::inval;
    for (std::int32_t i = 0; i < request.count; ++i) {
        const auto entry = TRY(kernel::read_user<PrivcmdMmapEntry>(
            request.entries + static_cast<std::uint64_t>(i) * sizeof(PrivcmdMmapEntry)));
        for (std::uint64_t page = 0; page < entry.pages; ++page) {
            const UserAddress address = entry.va + page * kernel::page_size;
            Vma* area = TRY(area_for(address, 1));
            const MachineFrame frame{entry.frame + page};
            TRY(kernel::map_user_frames(*area, address, &frame, 1, request.domain, nullptr));
        }
    }
    return std::int64_t{0};
}

/// Frames of a domain's resource (its grant table): asked from the hypervisor, then mapped.
Result<std::int64_t> mmap_resource(UserAddress argument) {
    const auto request = TRY(kernel::read_user<PrivcmdMmapResource>(argument));
    if (request.count == 0 || request.count > frames_at_once)
        return Errno::inval;
    BatchMemory memory;
    Batch* batch = memory.get();
    if (batch == nullptr)
        return Errno::nomem;
    struct AcquireResource {
        std::uint16_t domain;
        std::uint16_t type;
        std::uint32_t id;
        std::uint32_t frames;
        std::uint32_t flags;
        std::uint64_t first;
        std::uint64_t list;
    } acquire{request.domain,
              static_cast<std::uint16_t>(request.type),
              request.id,
              static_cast<std::uint32_t>(request.count),
              0,
              request.index,
              kernel::by_address(batch->raw)};
    const long result = kernel::hypercall(CERO_HYPERCALL_memory_op, CERO_XENMEM_acquire_resource,
                                          kernel::by_address(&acquire));
    if (result < 0)
        return kernel::errno_of(result);
    for (std::size_t i = 0; i < request.count; ++i)
        batch->frames[i] = MachineFrame{batch->raw[i]};
    Vma* area = TRY(area_for(request.address, request.count));
    constexpr std::uint32_t caller_owned = 1;
    const kernel::DomainId owner =
        (acquire.flags & caller_owned) != 0 ? kernel::DomainId{CERO_DOMID_SELF} : request.domain;
    TRY(kernel::map_user_frames(*area, request.address, batch->frames, request.count, owner,
                                nullptr));
    return std::int64_t{0};
}

class Privcmd final : public kernel::FileOps {
public:
    Result<std::int64_t> ioctl(File&, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        switch (command) {
        case privcmd_hypercall: {
            const auto call = TRY(kernel::read_user<PrivcmdHypercall>(argument));
            return std::int64_t{kernel::hypercall(static_cast<unsigned>(call.op), call.arg[0],
                                                  call.arg[1], call.arg[2], call.arg[3],
                                                  call.arg[4])};
        }
        case privcmd_mmap:
            return mmap_ranges(argument);
        case privcmd_mmapbatch:
            return mmap_batch(argument);
        case privcmd_mmapbatch_v2:
            return mmap_batch_v2(argument);
        case privcmd_mmap_resource:
            return mmap_resource(argument);
        default:
            return Errno::notty;
        }
    }
    Result<kernel::Mappable*> mappable(File&) noexcept override { return &foreign_area; }
};
constinit Privcmd privcmd;

class HypercallBuffers final : public kernel::FileOps {
public:
    Result<kernel::Mappable*> mappable(File&) noexcept override { return &buffer_area; }
};
constinit HypercallBuffers hypercall_buffers;

void start_privcmd() {
    if (!kernel::is_initial_domain())
        return;
    kernel::register_misc_device("xen/privcmd", privcmd);
    kernel::register_misc_device("xen/hypercall", hypercall_buffers);
}
CERO_INITCALL(device, start_privcmd);

} // namespace

} // namespace drivers::user
