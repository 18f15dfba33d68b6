// SPDX-License-Identifier: BSD-2-Clause
// A disk in memory, "ram0", of as many MiB as the command line's ram_disk= says: for measurements
// and tests.
#include <cero/driver/block.hpp>
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <cstring>
#include <new>

namespace drivers {

namespace {

constexpr std::uint64_t max_mebibytes = 1024;
constexpr unsigned chunk_order = 8; ///< 1 MiB
constexpr std::size_t chunk_size = kernel::page_size << chunk_order;

class RamDisk final : public BlockDevice {
public:
    /// Null when memory is out.
    static RamDisk* create(std::uint64_t mebibytes) {
        auto* disk = new (std::nothrow) RamDisk;
        if (disk == nullptr)
            return nullptr;
        for (; disk->chunk_count_ < mebibytes; ++disk->chunk_count_) {
            void* chunk = kernel::alloc_pages(chunk_order);
            if (chunk == nullptr) {
                delete disk;
                return nullptr;
            }
            std::memset(chunk, 0, chunk_size);
            disk->chunks_[disk->chunk_count_] = static_cast<std::byte*>(chunk);
        }
        disk->geometry_.sectors = mebibytes * (chunk_size / block_sector_size);
        disk->geometry_.max_segments = 64;
        return disk;
    }

private:
    RamDisk() noexcept { set_name("ram0"); }
    ~RamDisk() override {
        while (chunk_count_ != 0)
            kernel::free_pages(chunks_[--chunk_count_], chunk_order);
    }
    void start(BlockRequest& request) noexcept override {
        std::uint64_t at = request.sector * block_sector_size;
        for (std::uint32_t i = 0; i < request.segment_count; ++i) {
            const BlockSegment& segment = request.segments[i];
            for (std::uint32_t done = 0; done < segment.length;) {
                const std::size_t offset = at % chunk_size;
                const std::size_t left = segment.length - done;
                const std::size_t count = left < chunk_size - offset ? left : chunk_size - offset;
                std::byte* const here = chunks_[at / chunk_size] + offset;
                if (request.op == BlockOp::write)
                    std::memcpy(here, segment.data + done, count);
                else
                    std::memcpy(segment.data + done, here, count);
                at += count;
                done += static_cast<std::uint32_t>(count);
            }
        }
        request.finish(Errno::ok);
    }

    std::byte* chunks_[max_mebibytes]{};
    std::uint64_t chunk_count_{};
};

void start_ram_disk() {
    const kernel::Option option = kernel::command_line_option("ram_disk");
    if (!option.found)
        return;
    std::uint64_t mebibytes = 0;
    for (const char digit : option.value) {
        if (digit < '0' || digit > '9' || mebibytes > max_mebibytes)
            break;
        mebibytes = mebibytes * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    RamDisk* disk =
        mebibytes != 0 && mebibytes <= max_mebibytes ? RamDisk::create(mebibytes) : nullptr;
    if (disk == nullptr || !BlockRegistry::add(*disk))
        kernel::printk(kernel::Level::error, "ram0: cannot make a RAM disk of %llu MiB\n",
                       static_cast<unsigned long long>(mebibytes));
}
CERO_INITCALL(device, start_ram_disk);

} // namespace

} // namespace drivers
