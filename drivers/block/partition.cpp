// SPDX-License-Identifier: BSD-2-Clause
// Partitions as block devices: each shifts requests into its disk; all go when their disk goes.
#include <cero/driver/block.hpp>
#include <cero/lib/format.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include "gpt.hpp"

#include <cstring>
#include <new>

namespace drivers {

namespace {

/// A range of a disk. Created by a scan; deletes itself when unregistered and unused.
class Partition final : public BlockDevice {
public:
    Partition(BlockHandle&& disk, const PartitionExtent& extent) noexcept : disk_{std::move(disk)} {
        const std::uint64_t unit = disk_->geometry().logical_sector_size / block_sector_size;
        geometry_ = disk_->geometry();
        geometry_.sectors = extent.count * unit;
        first_ = extent.first * unit;
        const std::uint64_t granule = geometry_.discard_granularity;
        const std::uint64_t start = first_ * block_sector_size % granule;
        geometry_.discard_alignment =
            static_cast<std::uint32_t>((geometry_.discard_alignment + granule - start) % granule);
        const char* base = disk_->name();
        const char last = base[std::strlen(base) - 1];
        char text[name_size];
        cero::format_to(text, sizeof text, last >= '0' && last <= '9' ? "%sp%u" : "%s%u", base,
                        extent.number);
        set_name(text);
    }
    [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
    [[nodiscard]] BlockDevice& disk() const noexcept { return *disk_; }
    void plug() noexcept override { disk_->plug(); }
    void unplug() noexcept override { disk_->unplug(); }
    Partition* next{};

private:
    void start(BlockRequest& request) noexcept override {
        request.sector += first_;
        disk_->submit(request);
    }
    void released() noexcept override { delete this; }
    BlockHandle disk_;
    std::uint64_t first_{};
};

/// Removes the partitions of disks that go away. A partition's handle keeps the disk's object
/// alive.
class Reaper final : public BlockListener {
public:
    void block_added(BlockDevice&) noexcept override {}
    void block_removed(BlockDevice& device) noexcept override {
        for (Partition** at = &partitions; *at != nullptr;) {
            Partition* partition = *at;
            if (&partition->disk() != &device) {
                at = &partition->next;
                continue;
            }
            *at = partition->next;
            BlockRegistry::remove(*partition);
        }
    }
    Partition* partitions{};
    bool listening{};
};
constinit Reaper reaper;

void add_partition(BlockDevice& whole, const PartitionExtent& extent) {
    auto handle = BlockHandle::open(whole.name(), BlockAccess::read);
    if (!handle)
        return;
    auto* partition = new (std::nothrow) Partition{std::move(*handle), extent};
    if (partition == nullptr)
        return;
    if (!BlockRegistry::add(*partition, &whole, partition->first())) {
        delete partition;
        return;
    }
    partition->next = reaper.partitions;
    reaper.partitions = partition;
    kernel::printk(kernel::Level::info, "%s: %llu sectors at %llu of %s\n", partition->name(),
                   static_cast<unsigned long long>(partition->geometry().sectors),
                   static_cast<unsigned long long>(partition->first()), whole.name());
}

/// A page-aligned buffer that frees itself.
class Pages {
public:
    explicit Pages(std::size_t bytes) noexcept {
        while ((std::size_t{4096} << order_) < bytes)
            ++order_;
        memory_ = kernel::alloc_pages(order_);
    }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    ~Pages() {
        if (memory_ != nullptr)
            kernel::free_pages(memory_, order_);
    }
    [[nodiscard]] void* get() const noexcept { return memory_; }

private:
    unsigned order_{};
    void* memory_{};
};

/// Tries the GPT whose header is in `block`; true when a valid table was found.
bool scan_gpt(BlockDevice& whole, void* sector, std::uint64_t block) {
    const std::size_t block_size = whole.geometry().logical_sector_size;
    const std::uint64_t unit = block_size / block_sector_size;
    const std::uint64_t blocks = whole.geometry().sectors / unit;
    if (block >= blocks || !block_transfer(whole, BlockOp::read, block * unit, sector, block_size))
        return false;
    GptLayout layout;
    if (!parse_gpt_header(sector, block_size, block, blocks, layout))
        return false;
    const std::size_t bytes = (layout.table_bytes() + block_size - 1) / block_size * block_size;
    if (bytes / block_size > blocks - layout.entries_block)
        return false;
    Pages table{bytes};
    if (table.get() == nullptr ||
        !block_transfer(whole, BlockOp::read, layout.entries_block * unit, table.get(), bytes) ||
        crc32(table.get(), layout.table_bytes()) != layout.entries_crc)
        return false;
    for (std::uint32_t i = 0; i < layout.entry_count; ++i) {
        PartitionExtent extent;
        if (parse_gpt_entry(table.get(), layout, i, blocks, extent))
            add_partition(whole, extent);
    }
    return true;
}

} // namespace

void scan_partitions(BlockDevice& whole) {
    if (!reaper.listening) {
        reaper.listening = true;
        BlockRegistry::listen(reaper);
    }
    const std::size_t block_size = whole.geometry().logical_sector_size;
    const std::uint64_t blocks = whole.geometry().sectors / (block_size / block_sector_size);
    Pages sector{block_size};
    if (sector.get() == nullptr || blocks < 2)
        return;
    if (scan_gpt(whole, sector.get(), 1) || scan_gpt(whole, sector.get(), blocks - 1))
        return;
    if (!block_transfer(whole, BlockOp::read, 0, sector.get(), block_size))
        return;
    for (unsigned i = 0; i < 4; ++i) {
        PartitionExtent extent;
        if (parse_mbr_entry(sector.get(), i, blocks, extent))
            add_partition(whole, extent);
    }
}

} // namespace drivers
