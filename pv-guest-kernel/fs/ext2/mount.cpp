// SPDX-License-Identifier: BSD-2-Clause
// ext2: mounting, the superblock, the inode hash, sync.
#include "../block_io.hpp"
#include "ext2.hpp"
#include <kernel/log.hpp>
#include <kernel/time.hpp>

#include <cstring>
#include <new>

namespace kernel::ext2 {

namespace {
std::uint32_t now_seconds() noexcept {
    return static_cast<std::uint32_t>(wall_ns() / ns_per_s);
}
} // namespace

Result<Block> Ext2::block(std::uint32_t number) noexcept {
    const std::uint64_t at = std::uint64_t{number} * block_size_;
    Page* page = TRY(metadata().get(at >> page_shift));
    return Block{page, at & page_mask, block_size_, &metadata()};
}

Result<Block> Ext2::fresh_block(std::uint32_t number) noexcept {
    const std::uint64_t at = std::uint64_t{number} * block_size_;
    // A page shared with other blocks must be read; a whole one need not.
    Page* page = TRY(metadata().get(at >> page_shift, block_size_ == page_size));
    Block fresh{page, at & page_mask, block_size_, &metadata()};
    std::memset(fresh.bytes(), 0, block_size_);
    fresh.mark_dirty();
    return fresh;
}

Result<Block> Ext2::super(DiskSuperblock*& out) noexcept {
    Page* page = TRY(metadata().get(super_offset >> page_shift));
    Block found{page, super_offset & page_mask, 1024, &metadata()};
    out = found.as<DiskSuperblock>();
    return found;
}

Result<Block> Ext2::group(std::uint32_t index, GroupDescriptor*& out) noexcept {
    const std::uint32_t per_block = block_size_ / sizeof(GroupDescriptor);
    auto found = TRY(block(first_data_block_ + 1 + index / per_block));
    out = found.as<GroupDescriptor>(index % per_block * sizeof(GroupDescriptor));
    return found;
}

bool Ext2::has_file_types() const noexcept {
    return (incompatible_ & incompatible::file_type) != 0;
}

Errno Ext2::corrupted(const char* what, std::uint64_t where) noexcept {
    if (!complained_)
        printk(Level::error, "ext2: %s at %llu; going read-only, run e2fsck on it\n", what,
               static_cast<unsigned long long>(where));
    complained_ = true;
    read_only = true;
    return Errno::io;
}

Status Ext2::load(bool want_read_only) noexcept {
    DiskSuperblock* sb = nullptr;
    block_size_ = 1024; // until the superblock says otherwise
    auto held = TRY(super(sb));
    if (sb->magic != super_magic)
        return Errno::inval;
    if (sb->log_block_size > 2) {
        printk(Level::error, "ext2: block size %u is not supported (1 to 4 KiB)\n",
               1024U << sb->log_block_size);
        return Errno::inval;
    }
    incompatible_ = sb->revision == 0 ? 0 : sb->incompatible;
    if (const std::uint32_t unknown = incompatible_ & ~incompatible::supported; unknown != 0) {
        printk(Level::error,
               "ext2: features %#x are not supported; make the file system with mke2fs -t ext2\n",
               unknown);
        return Errno::inval;
    }
    const std::uint32_t unknown =
        sb->revision == 0 ? 0 : sb->read_only_compatible & ~read_only_compatible::supported;
    if (unknown != 0 && !want_read_only) {
        printk(Level::error, "ext2: features %#x allow reading only; mount with -o ro\n", unknown);
        return Errno::rofs;
    }
    block_size_ = 1024U << sb->log_block_size;
    blocks_count_ = sb->blocks_count;
    inodes_count_ = sb->inodes_count;
    first_data_block_ = sb->first_data_block;
    blocks_per_group_ = sb->blocks_per_group;
    inodes_per_group_ = sb->inodes_per_group;
    inode_size_ = sb->revision == 0 ? 128 : sb->inode_size;
    first_inode_ = sb->revision == 0 ? 11 : sb->first_inode;
    was_valid_ = (sb->state & state_valid) != 0;
    const std::uint64_t bytes = std::uint64_t{blocks_count_} * block_size_;
    const bool sane = blocks_per_group_ != 0 && blocks_per_group_ <= block_size_ * 8 &&
                      inodes_per_group_ != 0 && inodes_per_group_ <= block_size_ * 8 &&
                      inode_size_ >= 128 && inode_size_ <= block_size_ &&
                      (inode_size_ & (inode_size_ - 1)) == 0 && first_data_block_ < blocks_count_;
    if (!sane || bytes > disk_.inode->size) {
        printk(Level::error, "ext2: the superblock does not fit the disk (%llu of %llu bytes)\n",
               static_cast<unsigned long long>(bytes),
               static_cast<unsigned long long>(disk_.inode->size));
        return Errno::inval;
    }
    group_count_ = (blocks_count_ - first_data_block_ + blocks_per_group_ - 1) / blocks_per_group_;
    if (!was_valid_)
        printk(Level::warning, "ext2: was not unmounted cleanly; e2fsck is advised\n");
    return {};
}

Result<Ref<Superblock>> Ext2::mount(block_node::Opened disk, bool want_read_only) noexcept {
    auto* fs = new (std::nothrow) Ext2{std::move(disk)};
    if (fs == nullptr)
        return Errno::nomem;
    auto owner = Ref<Superblock>::adopt(fs);
    fs->type_name = "ext2";
    fs->device = fs->disk_.number;
    fs->read_only = want_read_only;
    TRY(fs->load(want_read_only));
    fs->root_ = TRY(fs->inode(root_number));
    if (!fs->root_->is_directory()) {
        fs->root_ = nullptr;
        return fs->corrupted("the root is no directory", root_number);
    }
    if (!want_read_only) {
        DiskSuperblock* sb = nullptr;
        auto held = TRY(fs->super(sb));
        sb->mount_time = now_seconds();
        ++sb->mount_count;
        fs->note_modified();
    }
    return owner;
}

Status Ext2::set_state(bool valid) noexcept {
    DiskSuperblock* sb = nullptr;
    auto held = TRY(super(sb));
    const bool good = valid && was_valid_ && !complained_;
    sb->state =
        static_cast<std::uint16_t>(good ? sb->state | state_valid : sb->state & ~state_valid);
    sb->write_time = now_seconds();
    held.mark_dirty();
    return {};
}

void Ext2::note_modified() noexcept {
    if (modified_ || read_only)
        return;
    modified_ = true;
    (void)set_state(false);
}

void Ext2::note_large_file() noexcept {
    DiskSuperblock* sb = nullptr;
    auto held = super(sb);
    if (!held || (sb->read_only_compatible & read_only_compatible::large_file) != 0)
        return;
    sb->read_only_compatible |= read_only_compatible::large_file;
    held->mark_dirty();
}

/// Contents, then metadata, then the mark that all of it is consistent.
Status Ext2::sync() noexcept {
    page_cache::write_back_all();
    if (!modified_)
        return metadata().is_dirty() ? metadata().write_back() : Status{};
    modified_ = false;
    TRY(metadata().write_back());
    TRY(block_io::flush(disk()));
    if (!modified_) { // nothing changed meanwhile
        TRY(set_state(true));
        TRY(metadata().write_back());
    }
    return block_io::flush(disk());
}

Status Ext2::remount(std::uint32_t flags) noexcept {
    constexpr std::uint32_t ms_rdonly = 1;
    if ((flags & ms_rdonly) == 0 && read_only)
        return Errno::rofs; // the disk is claimed for reading only
    return {};
}

void Ext2::shut_down() noexcept {
    root_ = nullptr;
    (void)sync();
    (void)metadata().write_back();
    (void)metadata().shrink(~std::size_t{0});
    (void)metadata().shrink(~std::size_t{0});
}

bool Ext2::is_busy() noexcept {
    SpinGuard guard{inodes_lock_};
    for (Ext2Inode* first : inodes_)
        for (Ext2Inode* inode = first; inode != nullptr; inode = inode->hash_next)
            if (inode != root_.get())
                return true;
    return false;
}

FileSystemStatistics Ext2::statistics() noexcept {
    FileSystemStatistics out;
    out.type = super_magic;
    out.block_size = block_size_;
    DiskSuperblock* sb = nullptr;
    auto held = super(sb);
    if (!held)
        return out;
    out.blocks = blocks_count_ - first_data_block_ -
                 group_count_ * (2 + inodes_per_group_ * inode_size_ / block_size_);
    out.blocks_free = sb->free_blocks;
    out.blocks_available =
        sb->free_blocks > sb->reserved_blocks ? sb->free_blocks - sb->reserved_blocks : 0;
    out.files = inodes_count_;
    out.files_free = sb->free_inodes;
    return out;
}

Result<Block> Ext2::inode_block(std::uint32_t number, std::size_t& offset) noexcept {
    const std::uint32_t index = (number - 1) % inodes_per_group_;
    GroupDescriptor* descriptor = nullptr;
    auto held = TRY(group((number - 1) / inodes_per_group_, descriptor));
    const std::uint64_t at = std::uint64_t{index} * inode_size_;
    const auto where = static_cast<std::uint32_t>(descriptor->inode_table + at / block_size_);
    if (!is_valid_block(where))
        return corrupted("bad inode table", number);
    offset = at % block_size_;
    return block(where);
}

Result<Ref<Inode>> Ext2::inode(std::uint32_t number) noexcept {
    if (number == 0 || number > inodes_count_)
        return corrupted("bad inode number", number);
    for (;;) {
        {
            SpinGuard guard{inodes_lock_};
            Ext2Inode* found = bucket(number);
            while (found != nullptr && found->number != number)
                found = found->hash_next;
            if (found != nullptr && !found->freeing)
                return Ref<Inode>::share(found);
            if (found == nullptr)
                break;
        }
        inode_freed_.wait([&] {
            SpinGuard guard{inodes_lock_};
            const Ext2Inode* found = bucket(number);
            while (found != nullptr && found->number != number)
                found = found->hash_next;
            return found == nullptr || !found->freeing;
        });
    }
    std::size_t offset = 0;
    auto held = TRY(inode_block(number, offset));
    const DiskInode from = *held.as<DiskInode>(offset);
    if ((from.flags & flag_extents) != 0)
        return corrupted("inode with extents", number);
    return adopt_new(number, from);
}

Result<Ref<Inode>> Ext2::adopt_new(std::uint32_t number, const DiskInode& from) noexcept {
    auto* fresh = new (std::nothrow) Ext2Inode{*this, number, from};
    if (fresh == nullptr)
        return Errno::nomem;
    SpinGuard guard{inodes_lock_};
    fresh->hash_next = bucket(number);
    bucket(number) = fresh;
    return Ref<Inode>::adopt(fresh);
}

/// Takes a dead inode out of the hash; whoever waits may then read it anew.
void Ext2::forget(Ext2Inode& inode) noexcept {
    {
        SpinGuard guard{inodes_lock_};
        Ext2Inode** link = &bucket(inode.ino());
        while (*link != &inode)
            link = &(*link)->hash_next;
        *link = inode.hash_next;
    }
    inode_freed_.wake_all();
}

void Ext2Inode::last_put() noexcept {
    Ext2& owner = fs();
    freeing = true;
    if (link_count == 0 && !owner.is_read_only()) {
        const bool has_blocks = is_regular() || is_directory() || (is_symlink() && blocks != 0);
        cache_.truncate(0);
        size = 0;
        if (has_blocks) // other inodes keep something else in the block map
            (void)free_blocks(0);
        (void)store();
        owner.free_inode(ino(), is_directory());
    } else {
        (void)cache_.write_back();
    }
    owner.forget(*this);
    delete this;
}

namespace {

class Ext2Type final : public FileSystemType {
public:
    explicit constexpr Ext2Type(const char* type) noexcept : FileSystemType{type, true} {}
    Result<Ref<Superblock>> mount(const char* source, std::uint32_t flags,
                                  const char*) noexcept override {
        constexpr std::uint32_t ms_rdonly = 1;
        const bool read_only = (flags & ms_rdonly) != 0;
        return Ext2::mount(TRY(block_node::open(source, read_only)), read_only);
    }
};

} // namespace

void initialize() noexcept {
    static Ext2Type ext2{"ext2"};
    static Ext2Type ext4{"ext4"}; // images without extents
    register_file_system(ext2);
    register_file_system(ext4);
}

} // namespace kernel::ext2
