// SPDX-License-Identifier: BSD-2-Clause
// ext2: inodes: attributes, creation and removal of names, contents.
#include "../block_io.hpp"
#include "../vfs_operations.hpp"
#include "ext2.hpp"
#include <kernel/time.hpp>

#include <cstring>

namespace kernel::ext2 {

namespace {

constexpr std::size_t fast_link_limit = sizeof(DiskInode::block);

class Ext2FileOps final : public FileOps {
public:
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override {
        PageCache* cache = file.inode->page_cache();
        return cache == nullptr ? Result<std::size_t>{Errno::isdir} : cache->read(buffer, offset);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer,
                              std::uint64_t offset) noexcept override {
        auto& inode = static_cast<Ext2Inode&>(*file.inode);
        if (inode.superblock.is_read_only())
            return Errno::rofs;
        MutexGuard guard{inode.lock};
        const std::size_t wanted = buffer.remaining();
        auto count = inode.page_cache()->write(buffer, offset);
        if (!count || *count < wanted)
            inode.trim();
        if (count && *count != 0) {
            inode.mtime = inode.ctime = wall_ns();
            TRY(inode.store());
        }
        return count;
    }
    Status read_directory(File& file, DirectorySink& sink) noexcept override {
        if (!file.inode->is_directory())
            return Errno::notdir;
        MutexGuard guard{file.inode->lock};
        return static_cast<Ext2Inode&>(*file.inode).read_entries(file, sink);
    }
    Status sync(File& file, bool data_only) noexcept override {
        return file.inode->sync(data_only);
    }
    Result<Mappable*> mappable(File& file) noexcept override {
        PageCache* cache = file.inode->page_cache();
        return cache == nullptr ? Result<Mappable*>{Errno::nodev} : Result<Mappable*>{cache};
    }
    [[nodiscard]] bool is_seekable(const File&) const noexcept override { return true; }
};
Ext2FileOps file_operations;

FileTime from_disk(std::uint32_t seconds) noexcept {
    return seconds * ns_per_s;
}
std::uint32_t to_disk(FileTime t) noexcept {
    return static_cast<std::uint32_t>(t / ns_per_s);
}

/// Device numbers in the two encodings that ext2 knows.
DeviceNumber decode_device(const std::uint32_t (&pointer)[block_pointers]) noexcept {
    if (pointer[0] != 0)
        return make_device(pointer[0] >> 8U & 0xffU, pointer[0] & 0xffU);
    return make_device(pointer[1] >> 8U & 0xfffU,
                       (pointer[1] & 0xffU) | (pointer[1] >> 12U & 0xfff00U));
}

} // namespace

Ext2Inode::Ext2Inode(Ext2& owner, std::uint32_t inode_number, const DiskInode& from) noexcept
    : Inode{owner}, flags_{from.flags},
      generation_{from.generation}, file_acl_{from.file_acl}, cache_{*this, this} {
    number = inode_number;
    mode = from.mode;
    uid = from.uid | std::uint32_t{from.uid_high} << 16U;
    gid = from.gid | std::uint32_t{from.gid_high} << 16U;
    link_count = from.links;
    size = from.size;
    if (is_regular())
        size |= std::uint64_t{from.size_high} << 32U;
    blocks = from.sectors;
    atime = from_disk(from.atime);
    mtime = from_disk(from.mtime);
    ctime = from_disk(from.ctime);
    std::memcpy(pointer_, from.block, sizeof(pointer_));
    if (type() == mode::character || type() == mode::block)
        device = decode_device(pointer_);
}

Ext2& Ext2Inode::fs() noexcept {
    return static_cast<Ext2&>(superblock);
}
FileOps& Ext2Inode::file_ops() noexcept {
    return file_operations;
}

void Ext2Inode::touch() noexcept {
    mtime = ctime = wall_ns();
    (void)store();
}

Status Ext2Inode::store() noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    fs().note_modified();
    std::size_t offset = 0;
    auto held = TRY(fs().inode_block(ino(), offset));
    DiskInode& to = *held.as<DiskInode>(offset);
    to.mode = static_cast<std::uint16_t>(mode);
    to.uid = static_cast<std::uint16_t>(uid);
    to.uid_high = static_cast<std::uint16_t>(uid >> 16U);
    to.gid = static_cast<std::uint16_t>(gid);
    to.gid_high = static_cast<std::uint16_t>(gid >> 16U);
    to.links = static_cast<std::uint16_t>(link_count);
    to.size = static_cast<std::uint32_t>(size);
    if (is_regular()) {
        to.size_high = static_cast<std::uint32_t>(size >> 32U);
        if (size > 0x7fffffff)
            fs().note_large_file();
    }
    to.sectors = static_cast<std::uint32_t>(blocks);
    to.atime = to_disk(atime);
    to.mtime = to_disk(mtime);
    to.ctime = to_disk(ctime);
    to.flags = flags_;
    to.generation = generation_;
    to.file_acl = file_acl_;
    std::memcpy(to.block, pointer_, sizeof(pointer_));
    held.mark_dirty();
    return {};
}

Status Ext2Inode::change(const AttributeChange& change) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    if ((change.valid & AttributeChange::set_size) != 0 && change.size != size) {
        const bool shrinks = change.size < size;
        if (shrinks &&
            change.size % page_size != 0) { // what stays of the last page must be zero on the disk
            Page* last = TRY(cache_.get(change.size / page_size));
            last->put();
        }
        if (shrinks)
            cache_.truncate(change.size);
        size = change.size;
        if (shrinks)
            trim();
    }
    apply_attributes(*this, change);
    return store();
}

Status Ext2Inode::sync(bool) noexcept {
    TRY(cache_.write_back());
    TRY(fs().metadata().write_back());
    return block_io::flush(fs().disk());
}

void Ext2Inode::set_device() noexcept {
    const std::uint32_t major = device_major(device);
    const std::uint32_t minor = device_minor(device);
    if (major < 256 && minor < 256)
        pointer_[0] = major << 8U | minor;
    else
        pointer_[1] = (minor & 0xffU) | major << 8U | (minor & ~0xffU) << 12U;
}

Status Ext2Inode::write_target(std::string_view target) noexcept {
    size = target.size();
    if (target.size() < fast_link_limit) {
        std::memcpy(pointer_, target.data(), target.size());
        return {};
    }
    if (target.size() >= fs().block_size())
        return Errno::nametoolong;
    MutexGuard guard{map_lock_};
    const std::uint32_t block = TRY(map(0, true));
    auto held = TRY(fs().fresh_block(block));
    std::memcpy(held.bytes(), target.data(), target.size());
    held.mark_dirty();
    return {};
}

Result<std::size_t> Ext2Inode::read_link(char* out, std::size_t room) noexcept {
    if (!is_symlink())
        return Errno::inval;
    const std::size_t length = size < room ? size : room;
    if (blocks == 0) {
        if (size >= fast_link_limit)
            return fs().corrupted("bad symbolic link", number);
        std::memcpy(out, pointer_, length);
        return length;
    }
    if (size > fs().block_size())
        return fs().corrupted("bad symbolic link", number);
    MutexGuard guard{map_lock_};
    const std::uint32_t block = TRY(map(0, false));
    if (block == 0)
        return fs().corrupted("bad symbolic link", number);
    auto held = TRY(fs().block(block));
    std::memcpy(out, held.bytes(), length);
    return length;
}

Result<Ref<Inode>> Ext2Inode::make_child(std::string_view name, std::uint32_t file_mode,
                                         DeviceNumber node, std::string_view target) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    const bool is_child_directory = (file_mode & mode::type_mask) == mode::directory;
    if (is_child_directory && link_count >= 32000)
        return Errno::mlink;
    const std::uint32_t child_number = TRY(fs().allocate_inode(ino(), is_child_directory));
    std::size_t offset = 0;
    {
        auto held = fs().inode_block(child_number, offset);
        if (!held) {
            fs().free_inode(child_number, is_child_directory);
            return held.error();
        }
        std::memset(held->bytes() + offset, 0, fs().inode_size());
        held->mark_dirty();
    }
    DiskInode blank{};
    blank.mode = static_cast<std::uint16_t>(file_mode);
    blank.links = 0; // until all is done, so that an early return frees it again
    auto made = fs().adopt_new(child_number, blank);
    if (!made) {
        fs().free_inode(child_number, is_child_directory);
        return made;
    }
    auto& child = static_cast<Ext2Inode&>(**made);
    child.atime = child.mtime = child.ctime = wall_ns();
    child.device = node;
    if (child.type() == mode::character || child.type() == mode::block)
        child.set_device();
    if (child.is_symlink())
        TRY(child.write_target(target));
    if (is_child_directory) {
        TRY(child.add_entry(".", child));
        TRY(child.add_entry("..", *this));
    }
    TRY(add_entry(name, child));
    child.link_count = is_child_directory ? 2 : 1;
    TRY(child.store());
    if (is_child_directory) {
        ++link_count;
        TRY(store());
    }
    return made;
}

Result<Ref<Inode>> Ext2Inode::create(std::string_view name, std::uint32_t file_mode,
                                     DeviceNumber node) noexcept {
    return make_child(name, file_mode, node, {});
}
Result<Ref<Inode>> Ext2Inode::symlink(std::string_view name, std::string_view target) noexcept {
    return make_child(name, mode::symlink | 0777U, 0, target);
}

Status Ext2Inode::link(std::string_view name, Inode& inode) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    if (inode.link_count >= 32000)
        return Errno::mlink;
    TRY(add_entry(name, inode));
    ++inode.link_count;
    inode.ctime = wall_ns();
    return static_cast<Ext2Inode&>(inode).store();
}

Status Ext2Inode::unlink(std::string_view name, Inode& inode) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    TRY(remove_entry(name));
    --inode.link_count;
    inode.ctime = wall_ns();
    return static_cast<Ext2Inode&>(inode).store();
}

Status Ext2Inode::remove_directory(std::string_view name, Inode& inode) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    auto& victim = static_cast<Ext2Inode&>(inode);
    if (!TRY(victim.is_empty_directory()))
        return Errno::notempty;
    TRY(remove_entry(name));
    victim.link_count = 0;
    TRY(victim.store());
    --link_count;
    return store();
}

Status Ext2Inode::rename(std::string_view name, Inode& moved, Inode& new_directory,
                         std::string_view new_name, Inode* replaced) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    auto& to = static_cast<Ext2Inode&>(new_directory);
    auto& item = static_cast<Ext2Inode&>(moved);
    const bool directory = moved.is_directory();
    if (replaced != nullptr) {
        auto& old = static_cast<Ext2Inode&>(*replaced);
        if (old.is_directory() && !TRY(old.is_empty_directory()))
            return Errno::notempty;
        TRY(to.replace_entry(new_name, moved));
        old.link_count = old.is_directory() ? 0 : old.link_count - 1;
        TRY(old.store());
        if (directory)
            --to.link_count;
    } else {
        TRY(to.add_entry(new_name, moved));
    }
    TRY(remove_entry(name));
    if (directory && &to != this) {
        TRY(item.set_parent(to.ino()));
    }
    if (directory) {
        --link_count;
        ++to.link_count;
        TRY(store());
        TRY(to.store());
    }
    item.ctime = wall_ns();
    return item.store();
}

} // namespace kernel::ext2
