// SPDX-License-Identifier: BSD-2-Clause
// virtio-blk: a BlockDevice with many requests in flight, each one indirect descriptor.
#include "transport.hpp"

#include <cero/driver/block.hpp>
#include <cero/lib/format.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <new>

namespace drivers::virtio {

namespace {

constexpr std::uint16_t device_type_block = 2;

constexpr std::uint64_t feature_segment_max = 1ull << 2;
constexpr std::uint64_t feature_read_only = 1ull << 5;
constexpr std::uint64_t feature_block_size = 1ull << 6;
constexpr std::uint64_t feature_flush = 1ull << 9;
constexpr std::uint64_t feature_topology = 1ull << 10;
constexpr std::uint64_t feature_discard = 1ull << 13;

// Offsets in the device configuration.
constexpr std::size_t config_capacity = 0;
constexpr std::size_t config_segment_max = 12;
constexpr std::size_t config_block_size = 20;
constexpr std::size_t config_physical_exponent = 24;
constexpr std::size_t config_max_discard_sectors = 36;
constexpr std::size_t config_discard_alignment = 44;

constexpr std::uint32_t type_read = 0;
constexpr std::uint32_t type_write = 1;
constexpr std::uint32_t type_flush = 4;
constexpr std::uint32_t type_discard = 11;
constexpr std::uint8_t status_ok = 0;
constexpr std::uint8_t status_unsupported = 2;

/// Memory of one request that the device sees: 1 KiB, four to a page.
struct Slot {
    static constexpr unsigned max_descriptors = 60;
    struct Header {
        std::uint32_t type;
        std::uint32_t reserved;
        std::uint64_t sector;
    } header;
    struct DiscardRange {
        std::uint64_t sector;
        std::uint32_t count;
        std::uint32_t flags;
    } discard;
    Descriptor table[max_descriptors];
    // Ours:
    BlockRequest* request;
    Slot* next_free;
    bool flushing; ///< the write is done, its flush (force unit access) is not
    volatile std::uint8_t status;
};
static_assert(sizeof(Slot) <= 1024);

class VirtioBlk final : public BlockDevice {
public:
    VirtioBlk(PciDevice& pci, const char* name) noexcept : transport_{pci} { set_name(name); }

    Status setup() {
        TRY(transport_.negotiate(feature_segment_max | feature_read_only | feature_block_size |
                                 feature_flush | feature_topology | feature_discard |
                                 feature_indirect | feature_event_index));
        read_geometry();
        const InterruptHandler handlers[] = {interrupt};
        void* const arguments[] = {this};
        TRY(transport_.setup_interrupts(1, handlers, arguments));
        TRY(transport_.setup_queue(0, queue_));
        TRY(allocate_slots());
        transport_.start();
        static_cast<void>(queue_.ring.enable_interrupts());
        return {};
    }

    void plug() noexcept override {
        kernel::SpinGuard guard{lock_};
        ++plugged_;
    }
    void unplug() noexcept override {
        kernel::SpinGuard guard{lock_};
        if (--plugged_ == 0)
            kick();
    }

private:
    static constexpr unsigned slots_per_page = kernel::page_size / 1024;
    static constexpr unsigned max_slots = 128;
    static constexpr std::uint32_t max_granule = 1u << 30; ///< a larger one is not believed

    void read_geometry() {
        geometry_.sectors = transport_.config<std::uint64_t>(config_capacity);
        geometry_.read_only = transport_.has(feature_read_only);
        geometry_.has_flush = transport_.has(feature_flush);
        geometry_.max_segments = Slot::max_descriptors - 2;
        if (transport_.has(feature_segment_max)) {
            const auto most = transport_.config<std::uint32_t>(config_segment_max);
            if (most != 0 && most < geometry_.max_segments)
                geometry_.max_segments = most;
        }
        if (transport_.has(feature_block_size)) {
            const auto size = transport_.config<std::uint32_t>(config_block_size);
            if (size >= 512 && size <= kernel::page_size && (size & (size - 1)) == 0)
                geometry_.logical_sector_size = size;
        }
        geometry_.physical_sector_size = geometry_.logical_sector_size;
        if (transport_.has(feature_topology))
            geometry_.physical_sector_size <<=
                transport_.config<std::uint8_t>(config_physical_exponent) & 7;
        geometry_.discard_granularity = geometry_.logical_sector_size;
        if (transport_.has(feature_discard)) {
            geometry_.max_discard_sectors =
                transport_.config<std::uint32_t>(config_max_discard_sectors);
            const auto granule = transport_.config<std::uint32_t>(config_discard_alignment);
            if (granule > 1 && granule <= max_granule / block_sector_size)
                geometry_.discard_granularity = granule * block_sector_size;
        }
        if (!transport_.has(feature_indirect) && geometry_.max_segments > 16)
            geometry_.max_segments = 16;
    }

    Status allocate_slots() {
        for (unsigned made = 0; made < max_slots && made < queue_.ring.size();
             made += slots_per_page) {
            auto* page = static_cast<std::byte*>(kernel::alloc_zeroed_page());
            if (page == nullptr)
                return made != 0 ? Status{} : Status{Errno::nomem};
            for (unsigned i = 0; i < slots_per_page; ++i) {
                auto* slot = ::new (page + 1024 * i) Slot{};
                slot->next_free = free_;
                free_ = slot;
            }
        }
        return {};
    }

    void start(BlockRequest& request) noexcept override {
        kernel::SpinGuard guard{lock_};
        if (!waiting_.empty() || !enqueue(request))
            waiting_.push_back(request);
        else if (plugged_ == 0)
            kick();
    }

    void kick() noexcept {
        if (queue_.ring.publish())
            queue_.notify();
    }

    /// Puts a request on the ring. False: no slot or no descriptors.
    bool enqueue(BlockRequest& request) noexcept {
        Slot* slot = free_;
        if (slot == nullptr)
            return false;
        slot->request = &request;
        slot->flushing = false;
        if (!enqueue_slot(*slot, request.op))
            return false;
        free_ = slot->next_free;
        return true;
    }

    bool enqueue_slot(Slot& slot, BlockOp op) noexcept {
        const BlockRequest& request = *slot.request;
        Buffer out[Slot::max_descriptors];
        Buffer in[Slot::max_descriptors];
        unsigned out_count = 0;
        unsigned in_count = 0;
        out[out_count++] = {kernel::virt_to_machine(&slot.header), sizeof slot.header};
        slot.header = {type_flush, 0, 0};
        switch (op) {
        case BlockOp::read:
            slot.header = {type_read, 0, request.sector};
            in_count = gather(request, in);
            break;
        case BlockOp::write:
            slot.header = {type_write, 0, request.sector};
            out_count += gather(request, out + out_count);
            break;
        case BlockOp::discard:
            slot.header = {type_discard, 0, 0};
            slot.discard = {request.sector, static_cast<std::uint32_t>(request.sector_count), 0};
            out[out_count++] = {kernel::virt_to_machine(&slot.discard), sizeof slot.discard};
            break;
        case BlockOp::flush:
            break;
        }
        slot.status = 0xff;
        in[in_count++] = {kernel::virt_to_machine(const_cast<std::uint8_t*>(&slot.status)), 1};
        if (!transport_.has(feature_indirect))
            return queue_.ring.add(out, out_count, in, in_count, &slot);
        const unsigned count = VirtQueue::fill_table(slot.table, out, out_count, in, in_count);
        return queue_.ring.add_indirect(kernel::virt_to_machine(slot.table), count, &slot);
    }

    /// Segments as buffers; neighbours in machine memory become one.
    static unsigned gather(const BlockRequest& request, Buffer* buffers) noexcept {
        unsigned count = 0;
        for (std::uint32_t i = 0; i < request.segment_count; ++i) {
            const BlockSegment& segment = request.segments[i];
            if (count != 0 &&
                buffers[count - 1].machine + buffers[count - 1].length == segment.machine)
                buffers[count - 1].length += segment.length;
            else
                buffers[count++] = {segment.machine, segment.length};
        }
        return count;
    }

    static void interrupt(void* argument) {
        static_cast<VirtioBlk*>(argument)->complete_finished();
    }

    void complete_finished() noexcept {
        BlockRequestList finished;
        {
            kernel::SpinGuard guard{lock_};
            do {
                std::uint32_t written;
                while (void* token = queue_.ring.take(written))
                    retire(*static_cast<Slot*>(token), finished);
            } while (queue_.ring.enable_interrupts());
            while (BlockRequest* next = waiting_.front()) {
                BlockRequestList::remove(*next);
                if (!enqueue(*next)) {
                    waiting_.push_front(*next);
                    break;
                }
            }
            kick();
        }
        const CompletionBatch batch;
        while (BlockRequest* request = finished.pop_front())
            request->complete(*request);
    }

    void retire(Slot& slot, BlockRequestList& finished) noexcept {
        BlockRequest& request = *slot.request;
        const std::uint8_t status = slot.status;
        if (status == status_ok && request.op == BlockOp::write && request.force_unit_access &&
            geometry_.has_flush && !slot.flushing) {
            slot.flushing = true;
            if (enqueue_slot(slot, BlockOp::flush))
                return;
        }
        request.error = status == status_ok            ? Errno::ok
                        : status == status_unsupported ? Errno::opnotsupp
                                                       : Errno::io;
        slot.next_free = free_;
        free_ = &slot;
        finished.push_back(request);
    }

    Transport transport_;
    kernel::Spinlock lock_;
    Queue queue_;
    BlockRequestList waiting_;
    Slot* free_{};
    unsigned plugged_{};
};

unsigned disk_count = 0;

Status probe(PciDevice& pci) {
    char name[BlockDevice::name_size];
    cero::format_to(name, sizeof name, "vd%c", 'a' + static_cast<int>(disk_count % 26));
    auto* disk = new (std::nothrow) VirtioBlk{pci, name};
    if (disk == nullptr)
        return Errno::nomem;
    TRY(disk->setup()); // on failure the object stays: the hypervisor may still know its memory
    ++disk_count;
    kernel::printk(kernel::Level::info, "%s: %llu MiB, %u-byte sectors%s\n", name,
                   static_cast<unsigned long long>(disk->geometry().sectors / 2048),
                   disk->geometry().logical_sector_size, disk->read_only() ? ", read-only" : "");
    TRY(BlockRegistry::add(*disk));
    scan_partitions(*disk);
    return {};
}

constinit PciDriver driver{"virtio-blk",
                           [](const PciDevice& device) {
                               return device.vendor == pci_vendor &&
                                      device.product == pci_product_base + device_type_block;
                           },
                           probe,
                           {}};

void start_virtio_blk() {
    register_pci_driver(driver);
}
CERO_INITCALL(subsys, start_virtio_blk);

} // namespace

} // namespace drivers::virtio
