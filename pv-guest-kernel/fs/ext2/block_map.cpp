// SPDX-License-Identifier: BSD-2-Clause
// ext2: where the blocks of a file are: direct, and through one to three levels of indirect blocks.
#include "../block_io.hpp"
#include "ext2.hpp"

#include <cstring>

namespace kernel::ext2 {

/// The path to a block: which of the inode's pointers, then the index at each level.
Result<Ext2Inode::Branch> Ext2Inode::branch_of(std::uint64_t block) noexcept {
    const std::uint64_t fan_out = fs().block_size() / 4;
    if (block < direct_blocks)
        return Branch{1, {static_cast<std::uint32_t>(block)}};
    block -= direct_blocks;
    Branch branch{};
    std::uint64_t span = fan_out;
    for (unsigned depth = 1; depth <= 3; ++depth, span *= fan_out) {
        if (block >= span) {
            block -= span;
            continue;
        }
        branch.depth = depth + 1;
        branch.index[0] = direct_blocks + depth - 1;
        for (unsigned level = depth; level >= 1; --level) {
            branch.index[level] = static_cast<std::uint32_t>(block % fan_out);
            block /= fan_out;
        }
        return branch;
    }
    return Errno::fbig;
}

Result<std::uint32_t> Ext2Inode::allocate_block(bool zero) noexcept {
    std::uint32_t goal = last_allocated_ + 1;
    if (last_allocated_ == 0)
        goal = pointer_[0] != 0 ? pointer_[0] : 0;
    const std::uint32_t block = TRY(fs().allocate_block(goal));
    last_allocated_ = block;
    blocks += fs().sectors_per_block();
    if (zero)
        TRY(fs().fresh_block(block));
    return block;
}

/// `map_lock_` held.
Result<std::uint32_t> Ext2Inode::map(std::uint64_t block, bool allocate) noexcept {
    const Branch branch = TRY(branch_of(block));
    std::uint32_t at = pointer_[branch.index[0]];
    if (at == 0) {
        if (!allocate)
            return std::uint32_t{0};
        at = TRY(allocate_block(branch.depth > 1));
        pointer_[branch.index[0]] = at;
        TRY(store());
    }
    for (unsigned level = 1; level < branch.depth; ++level) {
        if (!fs().is_valid_block(at))
            return fs().corrupted("bad indirect block", number);
        auto table = TRY(fs().block(at));
        std::uint32_t& slot = table.as<std::uint32_t>()[branch.index[level]];
        if (slot == 0) {
            if (!allocate)
                return std::uint32_t{0};
            const std::uint32_t fresh = TRY(allocate_block(level + 1 < branch.depth));
            slot = fresh;
            table.mark_dirty();
            TRY(store());
        }
        at = slot;
    }
    if (!fs().is_valid_block(at))
        return fs().corrupted("bad block number", number);
    return at;
}

/// Frees what lies at or behind file block `keep` in the tree at `slot`, which covers blocks from
/// `first`.
Status Ext2Inode::free_tree(std::uint32_t& slot, unsigned depth, std::uint64_t first,
                            std::uint64_t keep, bool& changed) noexcept {
    if (slot == 0)
        return {};
    const std::uint64_t fan_out = fs().block_size() / 4;
    std::uint64_t child_span = 1;
    for (unsigned i = 1; i < depth; ++i)
        child_span *= fan_out;
    if (depth != 0) {
        if (!fs().is_valid_block(slot))
            return fs().corrupted("bad indirect block", number);
        auto table = TRY(fs().block(slot));
        auto* children = table.as<std::uint32_t>();
        bool child_changed = false;
        for (std::uint64_t i = 0; i < fan_out; ++i) {
            const std::uint64_t child_first = first + i * child_span;
            if (children[i] != 0 && child_first + child_span > keep)
                TRY(free_tree(children[i], depth - 1, child_first, keep, child_changed));
        }
        if (child_changed)
            table.mark_dirty();
    }
    if (first < keep)
        return {};
    fs().free_block(slot, depth != 0 || !is_regular());
    slot = 0;
    blocks -= blocks < fs().sectors_per_block() ? blocks : fs().sectors_per_block();
    changed = true;
    return {};
}

/// Frees every block from file block `keep` on.
Status Ext2Inode::free_blocks(std::uint64_t keep) noexcept {
    MutexGuard guard{map_lock_};
    const std::uint64_t fan_out = fs().block_size() / 4;
    bool changed = false;
    for (std::uint64_t i = keep < direct_blocks ? keep : direct_blocks; i < direct_blocks; ++i)
        TRY(free_tree(pointer_[i], 0, i, keep, changed));
    std::uint64_t first = direct_blocks;
    std::uint64_t span = fan_out;
    for (unsigned depth = 1; depth <= 3; ++depth) {
        if (first + span > keep)
            TRY(free_tree(pointer_[direct_blocks + depth - 1], depth, first, keep, changed));
        first += span;
        span *= fan_out;
    }
    last_allocated_ = 0;
    return changed ? store() : Status{};
}

void Ext2Inode::trim() noexcept {
    (void)free_blocks((size + fs().block_size() - 1) / fs().block_size());
}

Status Ext2Inode::reserve(std::uint64_t offset, std::size_t length) noexcept {
    if (fs().is_read_only())
        return Errno::rofs;
    MutexGuard guard{map_lock_};
    const std::uint64_t last = (offset + length - 1) / fs().block_size();
    for (std::uint64_t block = offset / fs().block_size(); block <= last; ++block)
        TRY(map(block, true));
    return {};
}

/// Moves whole pages, joining blocks that lie behind one another on the disk.
Status Ext2Inode::transfer_pages(Page** pages, std::size_t count, drivers::BlockOp op) noexcept {
    constexpr std::size_t most = max_run;
    drivers::BlockSegment segments[most];
    std::size_t used = 0;
    std::uint64_t first_sector = 0;
    std::uint64_t next_sector = 0;
    const std::size_t block_size = fs().block_size();
    auto send = [&]() -> Status {
        const std::size_t now = std::exchange(used, 0);
        return now == 0 ? Status{}
                        : block_io::transfer(fs().disk(), op, first_sector, segments, now);
    };
    MutexGuard guard{map_lock_};
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t first_block = (pages[i]->index << page_shift) / block_size;
        for (std::size_t at = 0; at < page_size; at += block_size) {
            auto* data = static_cast<std::byte*>(pages[i]->data()) + at;
            const bool inside =
                (pages[i]->index << page_shift) + at < size || op == drivers::BlockOp::write;
            const std::uint32_t block = inside ? TRY(map(first_block + at / block_size, false)) : 0;
            if (block == 0) {
                if (op == drivers::BlockOp::read)
                    std::memset(data, 0, block_size);
                continue;
            }
            const std::uint64_t sector = block * fs().sectors_per_block();
            const bool adjacent = used != 0 && sector == next_sector;
            drivers::BlockSegment* last = used == 0 ? nullptr : &segments[used - 1];
            const bool same_page = adjacent && at != 0 && last->data + last->length == data;
            if (same_page) {
                last->length += static_cast<std::uint32_t>(block_size);
            } else {
                if (used == most || (used != 0 && !adjacent))
                    TRY(send());
                if (used == 0)
                    first_sector = sector;
                segments[used++] = block_io::segment_of(data, block_size);
            }
            next_sector = sector + fs().sectors_per_block();
        }
    }
    return send();
}

Status Ext2Inode::read_pages(Page** pages, std::size_t count) noexcept {
    return transfer_pages(pages, count, drivers::BlockOp::read);
}
Status Ext2Inode::write_pages(Page** pages, std::size_t count) noexcept {
    return transfer_pages(pages, count, drivers::BlockOp::write);
}

} // namespace kernel::ext2
