// SPDX-License-Identifier: BSD-2-Clause
// Block device nodes: registry listener, node operations (buffered and O_DIRECT), ioctls.
#include "block_node.hpp"
#include "block_io.hpp"
#include "char_device.hpp"
#include "text.hpp"
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/time.hpp>
#include <kernel/user_copy.hpp>

#include <new>

namespace kernel::block_node {

namespace {

using drivers::BlockAccess;
using drivers::BlockDevice;
using drivers::BlockHandle;
using drivers::BlockOp;
using drivers::BlockSegment;

constexpr std::uint32_t virtio_major = 254;
constexpr std::uint32_t xen_major = 202;

/// Where the inodes of disks belong; it is never mounted.
class DiskSuperblock final : public Superblock {
public:
    Inode& root() noexcept override { panic("a disk has no root directory"); }
    FileSystemStatistics statistics() noexcept override { return {}; }
    static DiskSuperblock& instance() noexcept {
        static DiskSuperblock sb;
        return sb;
    }
};

/// The contents of a disk as a file. Holds the device for its cache even when nobody has it open.
class DiskInode final : public Inode, private PageStore {
public:
    explicit DiskInode(BlockDevice& disk) noexcept
        : Inode{DiskSuperblock::instance()}, disk_{disk}, cache_{*this, this} {
        cache_.set_sector_tracking();
        mode = mode::block | 0660U;
        size = disk.geometry().sectors * drivers::block_sector_size;
    }
    FileOps& file_ops() noexcept override;
    PageCache* page_cache() noexcept override { return &cache_; }
    Status sync(bool) noexcept override {
        TRY(cache_.write_back());
        return block_io::flush(disk_);
    }
    [[nodiscard]] BlockDevice& disk() noexcept { return disk_; }

private:
    std::size_t bytes_of(const Page& page) const noexcept {
        const std::uint64_t left = size - (page.index << page_shift);
        return left < page_size ? static_cast<std::size_t>(left) : page_size;
    }
    Status read_pages(Page** pages, std::size_t count) noexcept override {
        BlockSegment segments[max_run];
        for (std::size_t i = 0; i < count; ++i)
            segments[i] = block_io::segment_of(pages[i]->data(), bytes_of(*pages[i]));
        return block_io::transfer(disk_, BlockOp::read, pages[0]->index * (page_size / 512),
                                  segments, count);
    }
    Status write_pages(Page** pages, std::size_t count) noexcept override {
        // Only the sectors that were changed here: the others may belong to files with a newer
        // copy.
        Errno error = Errno::ok;
        BlockSegment segments[max_run];
        std::size_t used = 0;
        std::uint64_t first = 0;
        std::uint64_t next = 0;
        auto send = [&] {
            if (used != 0)
                if (auto status = block_io::transfer(disk_, BlockOp::write, first, segments, used);
                    !status)
                    error = status.error();
            used = 0;
        };
        for (std::size_t i = 0; i < count; ++i) {
            Page& page = *pages[i];
            const unsigned dirty = page.flags >> cache_flag::sector_shift;
            page.flags = static_cast<std::uint16_t>(page.flags & 0xff);
            const auto sectors = static_cast<unsigned>(bytes_of(page) / 512);
            for (unsigned s = 0; s < sectors;) {
                if ((dirty >> s & 1U) == 0) {
                    ++s;
                    continue;
                }
                unsigned end = s;
                while (end < sectors && (dirty >> end & 1U) != 0)
                    ++end;
                const std::uint64_t at = page.index * (page_size / 512) + s;
                if (used == max_run || (used != 0 && at != next))
                    send();
                if (used == 0)
                    first = at;
                segments[used++] = block_io::segment_of(
                    static_cast<char*>(page.data()) + s * std::size_t{512}, (end - s) * 512UL);
                next = at + (end - s);
                s = end;
            }
        }
        send();
        return error;
    }

    BlockDevice& disk_;
    PageCache cache_;
};

/// A registered disk. `gone` stays listed until the last opener lets go.
struct Disk {
    BlockDevice* device;
    DeviceNumber number;
    Ref<Inode> inode;
    char name[BlockDevice::name_size];
    Disk* next;
};

Disk* disks{};
Spinlock disks_lock;
std::uint32_t next_minor[2];

Disk* find_disk(DeviceNumber number) noexcept {
    SpinGuard guard{disks_lock};
    for (Disk* disk = disks; disk != nullptr; disk = disk->next)
        if (disk->number == number)
            return disk;
    return nullptr;
}

DiskInode& disk_of(File& file) noexcept {
    return *static_cast<DiskInode*>(file.data);
}

/// One open of a node: the handle lives in File::data of this shape.
class DiskOps final : public FileOps {
public:
    Status open(File& file) noexcept override {
        auto* disk = static_cast<Disk*>(file.data);
        const bool writes = file.can_write();
        auto handle =
            BlockHandle::open(disk->name, writes ? BlockAccess::write_shared : BlockAccess::read);
        if (!handle)
            return handle.error();
        auto* kept = new (std::nothrow) BlockHandle{*std::move(handle)};
        if (kept == nullptr)
            return Errno::nomem;
        file.data = disk->inode.get();
        file.inode = disk->inode.clone(); // stat of the descriptor shows the disk, seek its size
        file.inode->device = disk->number;
        file.label = reinterpret_cast<const char*>(kept);
        return {};
    }
    void release(File& file) noexcept override {
        if (file.can_write())
            (void)file.inode->sync(true);
        delete reinterpret_cast<BlockHandle*>(const_cast<char*>(file.label));
        file.label = nullptr;
    }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override {
        if ((file.flags & open_flag::direct) != 0)
            return direct(file, buffer, offset, BlockOp::read);
        return disk_of(file).page_cache()->read(buffer, offset);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer,
                              std::uint64_t offset) noexcept override {
        DiskInode& inode = disk_of(file);
        if (offset >= inode.size)
            return buffer.remaining() == 0 ? Result<std::size_t>{std::size_t{0}}
                                           : Result<std::size_t>{Errno::nospc};
        if (buffer.remaining() > inode.size - offset)
            buffer.truncate(inode.size - offset);
        if ((file.flags & open_flag::direct) != 0)
            return direct(file, buffer, offset, BlockOp::write);
        MutexGuard guard{inode.lock};
        return inode.page_cache()->write(buffer, offset);
    }
    Status sync(File& file, bool data_only) noexcept override {
        return disk_of(file).sync(data_only);
    }
    Result<Mappable*> mappable(File& file) noexcept override {
        return static_cast<Mappable*>(disk_of(file).page_cache());
    }
    [[nodiscard]] bool is_seekable(const File&) const noexcept override { return true; }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        constexpr std::uint32_t get_sectors = 0x1260, get_bytes = 0x80081272, sector_size = 0x1268,
                                block_size = 0x80081270, read_only = 0x125e, flush_buffers = 0x1261,
                                physical_size = 0x127b, reread = 0x125f;
        DiskInode& inode = disk_of(file);
        switch (command) {
        case get_sectors:
            TRY(write_user(argument, inode.size / 512));
            return 0;
        case get_bytes:
            TRY(write_user(argument, inode.size));
            return 0;
        case sector_size:
            TRY(write_user(argument,
                           static_cast<int>(inode.disk().geometry().logical_sector_size)));
            return 0;
        case physical_size:
            TRY(write_user(argument, inode.disk().geometry().physical_sector_size));
            return 0;
        case block_size:
            TRY(write_user(argument, std::uint64_t{4096}));
            return 0;
        case read_only:
            TRY(write_user(argument, inode.disk().read_only() ? 1 : 0));
            return 0;
        case flush_buffers:
            TRY(inode.sync(false));
            return 0;
        case reread:
            drivers::scan_partitions(inode.disk());
            return 0;
        default:
            return Errno::notty;
        }
    }

private:
    /// Transfers past the cache through a few pages of our own.
    static Result<std::size_t> direct(File& file, IoBuffer& buffer, std::uint64_t offset,
                                      BlockOp op) noexcept {
        DiskInode& inode = disk_of(file);
        if (offset % 512 != 0 || buffer.remaining() % 512 != 0)
            return Errno::inval;
        if (offset >= inode.size)
            return std::size_t{0};
        if (buffer.remaining() > inode.size - offset)
            buffer.truncate(inode.size - offset);
        unsigned order = 5; // 128 KiB at once
        auto* pages = static_cast<char*>(alloc_buffer(order));
        if (pages == nullptr)
            return Errno::nomem;
        const std::uint64_t start =
            offset; // not the buffer: it is empty before the disk has failed
        Errno error = Errno::ok;
        while (buffer.remaining() != 0 && error == Errno::ok)
            error = direct_part(inode, buffer, offset, op, pages, page_size << order);
        free_pages(pages, order);
        if (error != Errno::ok && offset == start)
            return error;
        return static_cast<std::size_t>(offset - start);
    }
    static Errno direct_part(DiskInode& inode, IoBuffer& buffer, std::uint64_t& offset, BlockOp op,
                             char* pages, std::size_t room) noexcept {
        const std::size_t size = buffer.remaining() < room ? buffer.remaining() : room;
        if (op == BlockOp::write)
            if (auto got = buffer.get(pages, size); !got || *got != size)
                return Errno::fault;
        BlockSegment segments[PageStore::max_run];
        std::size_t count = 0;
        for (std::size_t at = 0; at < size; at += page_size)
            segments[count++] =
                block_io::segment_of(pages + at, size - at < page_size ? size - at : page_size);
        if (auto status = block_io::transfer(inode.disk(), op, offset / 512, segments, count);
            !status)
            return status.error();
        if (op == BlockOp::read)
            if (auto put = buffer.put(pages, size); !put || *put != size)
                return Errno::fault;
        offset += size;
        return Errno::ok;
    }
};
DiskOps disk_ops;

FileOps& DiskInode::file_ops() noexcept {
    return disk_ops;
}

/// Follows drv's registry.
class Listener final : public drivers::BlockListener {
public:
    void block_added(BlockDevice& device) noexcept override {
        const bool xen = std::string_view{device.name()}.starts_with("xvd");
        auto* disk = new (std::nothrow) Disk{};
        auto* inode = new (std::nothrow) DiskInode{device};
        if (disk == nullptr || inode == nullptr) {
            printk(Level::error, "block: no memory for the node of %s\n", device.name());
            delete disk;
            delete inode;
            return;
        }
        disk->device = &device;
        disk->number = make_device(xen ? xen_major : virtio_major, next_minor[xen ? 1 : 0]++);
        disk->inode = Ref<Inode>::adopt(inode);
        copy_text(disk->name, device.name());
        {
            SpinGuard guard{disks_lock};
            Disk** place = &disks;
            while (*place != nullptr)
                place = &(*place)->next;
            *place = disk;
        }
        if (auto status = char_device::add_block(disk->name, disk->number, disk_ops, disk); !status)
            printk(Level::error, "block: no node for %s: error %d\n", disk->name,
                   static_cast<int>(status.error()));
    }
    void block_removed(BlockDevice& device) noexcept override {
        Disk* found = nullptr;
        {
            SpinGuard guard{disks_lock};
            for (Disk** place = &disks; *place != nullptr; place = &(*place)->next)
                if ((*place)->device == &device) {
                    found = *place;
                    *place = found->next;
                    break;
                }
        }
        if (found == nullptr)
            return;
        char_device::remove_block(found->number);
        delete found; // open files and mounts keep the inode and their handles
    }
};

} // namespace

void initialize() noexcept {
    static Listener listener;
    drivers::BlockRegistry::listen(listener);
}

bool at(std::size_t index, Info& info) noexcept {
    SpinGuard guard{disks_lock};
    for (Disk* disk = disks; disk != nullptr; disk = disk->next) {
        if (index-- != 0)
            continue;
        copy_text(info.name, disk->name);
        info.number = disk->number;
        info.sectors = disk->inode->size / 512;
        info.read_only = disk->device->read_only();
        return true;
    }
    return false;
}

Result<Opened> open_device(DeviceNumber number, bool read_only) noexcept {
    Disk* disk = find_disk(number);
    if (disk == nullptr)
        return Errno::nxio;
    auto handle = TRY(BlockHandle::open(disk->name, read_only ? BlockAccess::read
                                                              : BlockAccess::write_exclusive));
    return Opened{std::move(handle), disk->inode.clone(), disk->number};
}

Result<Opened> open(const char* source, bool read_only) noexcept {
    auto path = TRY(vfs::lookup(source));
    if (path.inode()->type() != mode::block)
        return Errno::notblk;
    return open_device(path.inode()->device, read_only);
}

} // namespace kernel::block_node
