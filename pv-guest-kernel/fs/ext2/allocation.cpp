// SPDX-License-Identifier: BSD-2-Clause
// ext2: block and inode allocation on the group bitmaps.
#include "ext2.hpp"
#include <kernel/time.hpp>

#include <cstring>

namespace kernel::ext2 {

/// Changes the superblock's counts of free things.
void Ext2::count(std::int32_t blocks, std::int32_t inodes) noexcept {
    DiskSuperblock* sb = nullptr;
    auto held = super(sb);
    if (!held)
        return;
    sb->free_blocks += static_cast<std::uint32_t>(blocks);
    sb->free_inodes += static_cast<std::uint32_t>(inodes);
    held->mark_dirty();
}

/// Sets the first clear bit at or behind `from`, else the first one; nospc if the bitmap is full.
Result<std::uint32_t> Ext2::take_bit(std::uint32_t bitmap, std::uint32_t from,
                                     std::uint32_t limit) noexcept {
    if (!is_valid_block(bitmap))
        return corrupted("bad bitmap", bitmap);
    auto held = TRY(block(bitmap));
    std::uint8_t* bits = held.bytes();
    for (int pass = 0; pass < 2; ++pass) {
        std::uint32_t bit = pass == 0 ? from : 0;
        const std::uint32_t end = pass == 0 ? limit : (from < limit ? from : limit);
        while (bit < end) {
            if (bits[bit / 8] == 0xff) {
                bit = (bit / 8 + 1) * 8;
            } else if ((bits[bit / 8] >> (bit % 8) & 1U) != 0) {
                ++bit;
            } else {
                bits[bit / 8] = static_cast<std::uint8_t>(bits[bit / 8] | 1U << (bit % 8));
                held.mark_dirty();
                return bit;
            }
        }
    }
    return Errno::nospc;
}

Result<std::uint32_t> Ext2::allocate_block(std::uint32_t goal) noexcept {
    MutexGuard guard{allocation_lock_};
    note_modified();
    if (!is_valid_block(goal))
        goal = first_data_block_;
    const std::uint32_t first_group = (goal - first_data_block_) / blocks_per_group_;
    for (std::uint32_t i = 0; i < group_count_; ++i) {
        const std::uint32_t index = (first_group + i) % group_count_;
        GroupDescriptor* descriptor = nullptr;
        auto held = TRY(group(index, descriptor));
        if (descriptor->free_blocks == 0)
            continue;
        const std::uint32_t base = first_data_block_ + index * blocks_per_group_;
        const std::uint32_t limit =
            blocks_count_ - base < blocks_per_group_ ? blocks_count_ - base : blocks_per_group_;
        auto bit = take_bit(descriptor->block_bitmap, i == 0 ? goal - base : 0, limit);
        if (!bit && bit.error() == Errno::nospc)
            continue;
        if (!bit)
            return bit.error();
        --descriptor->free_blocks;
        held.mark_dirty();
        count(-1, 0);
        return base + *bit;
    }
    return Errno::nospc;
}

void Ext2::free_block(std::uint32_t number, bool is_metadata) noexcept {
    if (!is_valid_block(number)) {
        (void)corrupted("bad block number", number);
        return;
    }
    MutexGuard guard{allocation_lock_};
    note_modified();
    const std::uint32_t index = (number - first_data_block_) / blocks_per_group_;
    const std::uint32_t bit = (number - first_data_block_) % blocks_per_group_;
    GroupDescriptor* descriptor = nullptr;
    auto held = group(index, descriptor);
    if (!held || !is_valid_block(descriptor->block_bitmap))
        return;
    auto bitmap = block(descriptor->block_bitmap);
    if (!bitmap)
        return;
    std::uint8_t& byte = bitmap->bytes()[bit / 8];
    if ((byte >> (bit % 8) & 1U) == 0) {
        (void)corrupted("block freed twice", number);
        return;
    }
    byte = static_cast<std::uint8_t>(byte & ~(1U << (bit % 8)));
    bitmap->mark_dirty();
    ++descriptor->free_blocks;
    held->mark_dirty();
    count(1, 0);
    if (is_metadata) { // a later owner's data must not be overwritten by what the cache still has
        const std::uint64_t at = std::uint64_t{number} * block_size_;
        metadata().forget_sectors(at >> page_shift, static_cast<unsigned>((at & page_mask) / 512),
                                  block_size_ / 512);
    }
}

/// Files go to their parent's group, directories to the emptiest.
Result<std::uint32_t> Ext2::allocate_inode(std::uint32_t parent, bool directory) noexcept {
    MutexGuard guard{allocation_lock_};
    note_modified();
    std::uint32_t first = (parent - 1) / inodes_per_group_;
    if (directory) {
        std::uint32_t best = 0;
        for (std::uint32_t i = 0; i < group_count_; ++i) {
            GroupDescriptor* descriptor = nullptr;
            auto held = TRY(group(i, descriptor));
            const std::uint32_t score =
                descriptor->free_inodes == 0 ? 0 : descriptor->free_blocks + 1U;
            if (score > best) {
                best = score;
                first = i;
            }
        }
    }
    for (std::uint32_t i = 0; i < group_count_; ++i) {
        const std::uint32_t index = (first + i) % group_count_;
        GroupDescriptor* descriptor = nullptr;
        auto held = TRY(group(index, descriptor));
        if (descriptor->free_inodes == 0)
            continue;
        const std::uint32_t from = index == 0 ? first_inode_ - 1 : 0;
        auto bit = take_bit(descriptor->inode_bitmap, from, inodes_per_group_);
        if (!bit && bit.error() == Errno::nospc)
            continue;
        if (!bit)
            return bit.error();
        --descriptor->free_inodes;
        if (directory)
            ++descriptor->used_directories;
        held.mark_dirty();
        count(0, -1);
        return index * inodes_per_group_ + *bit + 1;
    }
    return Errno::nospc;
}

void Ext2::free_inode(std::uint32_t number, bool directory) noexcept {
    std::size_t offset = 0;
    if (auto place = inode_block(number, offset)) {
        place->as<DiskInode>(offset)->dtime = static_cast<std::uint32_t>(wall_ns() / ns_per_s);
        place->mark_dirty();
    }
    MutexGuard guard{allocation_lock_};
    note_modified();
    const std::uint32_t bit = (number - 1) % inodes_per_group_;
    GroupDescriptor* descriptor = nullptr;
    auto held = group((number - 1) / inodes_per_group_, descriptor);
    if (!held || !is_valid_block(descriptor->inode_bitmap))
        return;
    auto bitmap = block(descriptor->inode_bitmap);
    if (!bitmap)
        return;
    std::uint8_t& byte = bitmap->bytes()[bit / 8];
    byte = static_cast<std::uint8_t>(byte & ~(1U << (bit % 8)));
    bitmap->mark_dirty();
    ++descriptor->free_inodes;
    if (directory)
        --descriptor->used_directories;
    held->mark_dirty();
    count(0, 1);
}

} // namespace kernel::ext2
