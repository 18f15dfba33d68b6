// SPDX-License-Identifier: BSD-2-Clause
// ext2: directories as lists of variable-length entries.
#include "ext2.hpp"
#include <kernel/time.hpp>

#include <cstring>

namespace kernel::ext2 {

namespace {

std::uint8_t type_of(const Inode& inode) noexcept {
    switch (inode.type()) {
    case mode::regular:
        return 1;
    case mode::directory:
        return 2;
    case mode::character:
        return 3;
    case mode::block:
        return 4;
    case mode::fifo:
        return 5;
    case mode::socket:
        return 6;
    case mode::symlink:
        return 7;
    default:
        return 0;
    }
}

/// The type field as d_type of getdents.
std::uint8_t directory_type(std::uint8_t type) noexcept {
    static constexpr std::uint8_t table[8] = {0, 8, 4, 2, 6, 1, 12, 10};
    return type < 8 ? table[type] : 0;
}

std::string_view name_of(const DirectoryEntry& entry) noexcept {
    return {reinterpret_cast<const char*>(&entry + 1), entry.name_length};
}

/// True if the entry at `offset` is whole and inside the block.
bool is_sound(const DirectoryEntry& entry, std::size_t offset, std::size_t block_size) noexcept {
    return entry.record_length >= record_size(entry.inode == 0 ? 0 : entry.name_length) &&
           entry.record_length % 4 == 0 && offset + entry.record_length <= block_size;
}

} // namespace

Result<Block> Ext2Inode::directory_block(std::uint64_t index, bool allocate) noexcept {
    MutexGuard guard{map_lock_};
    std::uint32_t block = TRY(map(index, false));
    if (block != 0)
        return fs().block(block);
    if (!allocate)
        return fs().corrupted("hole in a directory", number);
    block = TRY(map(index, true));
    return fs().fresh_block(block);
}

Result<Ext2Inode::Position> Ext2Inode::find_entry(std::string_view name) noexcept {
    const std::size_t block_size = fs().block_size();
    for (std::uint64_t index = 0; index < size / block_size; ++index) {
        auto block = TRY(directory_block(index, false));
        std::size_t previous = 0;
        for (std::size_t offset = 0; offset + sizeof(DirectoryEntry) <= block_size;) {
            const auto& entry = *block.as<DirectoryEntry>(offset);
            if (!is_sound(entry, offset, block_size))
                return fs().corrupted("bad directory entry", number);
            if (entry.inode != 0 && name_of(entry) == name)
                return Position{std::move(block), offset, previous};
            previous = offset;
            offset += entry.record_length;
        }
    }
    return Errno::noent;
}

Result<Ref<Inode>> Ext2Inode::lookup(std::string_view name) noexcept {
    auto found = TRY(find_entry(name));
    return fs().inode(found.block.as<DirectoryEntry>(found.offset)->inode);
}

Status Ext2Inode::add_entry(std::string_view name, const Inode& inode) noexcept {
    const std::size_t block_size = fs().block_size();
    const std::size_t wanted = record_size(name.size());
    auto fill = [&](DirectoryEntry& entry, std::size_t length) {
        entry.inode = static_cast<std::uint32_t>(inode.number);
        entry.record_length = static_cast<std::uint16_t>(length);
        entry.name_length = static_cast<std::uint8_t>(name.size());
        entry.type = fs().has_file_types() ? type_of(inode) : 0;
        std::memcpy(&entry + 1, name.data(), name.size());
    };
    flags_ &= ~flag_index; // entries are no longer where an index would say
    for (std::uint64_t index = 0; index < size / block_size; ++index) {
        auto block = TRY(directory_block(index, false));
        for (std::size_t offset = 0; offset + sizeof(DirectoryEntry) <= block_size;) {
            auto& entry = *block.as<DirectoryEntry>(offset);
            if (!is_sound(entry, offset, block_size))
                return fs().corrupted("bad directory entry", number);
            const std::size_t used = entry.inode == 0 ? 0 : record_size(entry.name_length);
            const std::size_t length = entry.record_length;
            if (length - used >= wanted) {
                if (used != 0)
                    entry.record_length = static_cast<std::uint16_t>(used);
                fill(*block.as<DirectoryEntry>(offset + used), length - used);
                block.mark_dirty();
                touch();
                return {};
            }
            offset += length;
        }
    }
    auto block = TRY(directory_block(size / block_size, true));
    fill(*block.as<DirectoryEntry>(0), block_size);
    block.mark_dirty();
    size += block_size;
    touch();
    return {};
}

Status Ext2Inode::remove_entry(std::string_view name) noexcept {
    auto found = TRY(find_entry(name));
    auto& entry = *found.block.as<DirectoryEntry>(found.offset);
    if (found.previous != found.offset) {
        auto& before = *found.block.as<DirectoryEntry>(found.previous);
        before.record_length =
            static_cast<std::uint16_t>(before.record_length + entry.record_length);
    } else {
        entry.inode = 0;
    }
    found.block.mark_dirty();
    flags_ &= ~flag_index;
    touch();
    return {};
}

Status Ext2Inode::replace_entry(std::string_view name, const Inode& inode) noexcept {
    auto found = TRY(find_entry(name));
    auto& entry = *found.block.as<DirectoryEntry>(found.offset);
    entry.inode = static_cast<std::uint32_t>(inode.number);
    entry.type = fs().has_file_types() ? type_of(inode) : 0;
    found.block.mark_dirty();
    touch();
    return {};
}

Status Ext2Inode::set_parent(std::uint32_t parent) noexcept {
    auto found = TRY(find_entry(".."));
    found.block.as<DirectoryEntry>(found.offset)->inode = parent;
    found.block.mark_dirty();
    return {};
}

Result<bool> Ext2Inode::is_empty_directory() noexcept {
    const std::size_t block_size = fs().block_size();
    for (std::uint64_t index = 0; index < size / block_size; ++index) {
        auto block = TRY(directory_block(index, false));
        for (std::size_t offset = 0; offset + sizeof(DirectoryEntry) <= block_size;) {
            const auto& entry = *block.as<DirectoryEntry>(offset);
            if (!is_sound(entry, offset, block_size))
                return fs().corrupted("bad directory entry", number);
            const std::string_view name = name_of(entry);
            if (entry.inode != 0 && name != "." && name != "..")
                return false;
            offset += entry.record_length;
        }
    }
    return true;
}

/// The position is the byte offset of the next entry; entries never move within a block.
Status Ext2Inode::read_entries(File& file, DirectorySink& sink) noexcept {
    const std::size_t block_size = fs().block_size();
    while (file.position < size) {
        auto block = TRY(directory_block(file.position / block_size, false));
        const std::size_t wanted = file.position % block_size;
        for (std::size_t offset = 0; offset + sizeof(DirectoryEntry) <= block_size;) {
            const auto& entry = *block.as<DirectoryEntry>(offset);
            if (!is_sound(entry, offset, block_size))
                return fs().corrupted("bad directory entry", number);
            const std::uint64_t next =
                file.position - file.position % block_size + offset + entry.record_length;
            if (offset >= wanted && entry.inode != 0) {
                const std::string_view name = name_of(entry);
                if (!sink.entry(name.data(), name.size(), entry.inode,
                                fs().has_file_types() ? directory_type(entry.type) : 0, next))
                    return {};
            }
            offset += entry.record_length;
            if (offset > wanted && offset < block_size)
                file.position = next;
        }
        file.position = (file.position / block_size + 1) * block_size;
    }
    return {};
}

} // namespace kernel::ext2
