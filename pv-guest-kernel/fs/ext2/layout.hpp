// SPDX-License-Identifier: BSD-2-Clause
// The second extended file system on disk: superblock, group descriptors, inodes, directory
// entries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernel::ext2 {

struct DiskSuperblock {
    std::uint32_t inodes_count, blocks_count, reserved_blocks, free_blocks, free_inodes,
        first_data_block;
    std::uint32_t log_block_size, log_fragment_size;
    std::uint32_t blocks_per_group, fragments_per_group, inodes_per_group;
    std::uint32_t mount_time, write_time;
    std::uint16_t mount_count, max_mount_count, magic, state, errors, minor_revision;
    std::uint32_t last_check, check_interval, creator, revision;
    std::uint16_t reserved_uid, reserved_gid;
    // revision 1
    std::uint32_t first_inode;
    std::uint16_t inode_size, group_number;
    std::uint32_t compatible, incompatible, read_only_compatible;
    std::uint8_t uuid[16];
    char volume_name[16];
    char last_mounted[64];
};
static_assert(offsetof(DiskSuperblock, magic) == 56 &&
              offsetof(DiskSuperblock, incompatible) == 96);

inline constexpr std::uint16_t super_magic = 0xef53;
inline constexpr std::uint16_t state_valid = 1;
inline constexpr std::uint64_t super_offset = 1024;

namespace incompatible {
inline constexpr std::uint32_t file_type = 0x2, flex_groups = 0x200;
inline constexpr std::uint32_t supported = file_type | flex_groups;
} // namespace incompatible
namespace read_only_compatible {
inline constexpr std::uint32_t sparse_super = 1, large_file = 2, huge_file = 8, dir_nlink = 0x20,
                               extra_isize = 0x40;
inline constexpr std::uint32_t supported =
    sparse_super | large_file | huge_file | dir_nlink | extra_isize;
} // namespace read_only_compatible

struct GroupDescriptor {
    std::uint32_t block_bitmap, inode_bitmap, inode_table;
    std::uint16_t free_blocks, free_inodes, used_directories, flags;
    std::uint32_t reserved[3];
};
static_assert(sizeof(GroupDescriptor) == 32);

inline constexpr unsigned direct_blocks = 12;
inline constexpr unsigned block_pointers = 15;

struct DiskInode {
    std::uint16_t mode, uid;
    std::uint32_t size, atime, ctime, mtime, dtime;
    std::uint16_t gid, links;
    std::uint32_t sectors, flags, version;
    std::uint32_t block[block_pointers];
    std::uint32_t generation, file_acl, size_high, fragment;
    std::uint16_t blocks_high, acl_high, uid_high, gid_high;
    std::uint32_t reserved;
};
static_assert(sizeof(DiskInode) == 128 && offsetof(DiskInode, block) == 40);

inline constexpr std::uint32_t flag_immutable = 0x10, flag_index = 0x1000, flag_extents = 0x80000;
inline constexpr std::uint32_t root_number = 2;

struct DirectoryEntry {
    std::uint32_t inode;
    std::uint16_t record_length;
    std::uint8_t name_length;
    std::uint8_t type; ///< with incompatible::file_type, else the high byte of the length
};
static_assert(sizeof(DirectoryEntry) == 8);
constexpr std::size_t record_size(std::size_t name_length) noexcept {
    return (sizeof(DirectoryEntry) + name_length + 3) & ~std::size_t{3};
}

} // namespace kernel::ext2
