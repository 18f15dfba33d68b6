// SPDX-License-Identifier: BSD-2-Clause
// System calls that report attributes: stat family, statx, statfs.
#include "syscall_support.hpp"

namespace kernel {

namespace {

struct UserStat {
    std::uint64_t device, inode, links;
    std::uint32_t mode, uid, gid, pad;
    std::uint64_t special_device;
    std::int64_t size, block_size, blocks;
    UserTimespec atime, mtime, ctime;
    std::int64_t unused[3];
};
static_assert(sizeof(UserStat) == 144);

struct UserStatxTime {
    std::int64_t seconds;
    std::uint32_t nanoseconds;
    std::int32_t pad;
};
struct UserStatx {
    std::uint32_t mask, block_size;
    std::uint64_t attributes;
    std::uint32_t links, uid, gid;
    std::uint16_t mode, pad0;
    std::uint64_t inode, size, blocks, attributes_mask;
    UserStatxTime atime, birth, ctime, mtime;
    std::uint32_t special_major, special_minor, device_major, device_minor;
    std::uint64_t mount_id;
    std::uint32_t dio_memory, dio_offset;
    std::uint64_t spare[12];
};
static_assert(sizeof(UserStatx) == 256);

UserStat stat_of(Inode& inode) noexcept {
    inode.refresh();
    return {.device = inode.superblock.device,
            .inode = inode.number,
            .links = inode.link_count,
            .mode = inode.mode,
            .uid = inode.uid,
            .gid = inode.gid,
            .pad = 0,
            .special_device = inode.device,
            .size = static_cast<std::int64_t>(inode.size),
            .block_size = 4096,
            .blocks = static_cast<std::int64_t>(inode.blocks),
            .atime = UserTimespec::from_ns(inode.atime),
            .mtime = UserTimespec::from_ns(inode.mtime),
            .ctime = UserTimespec::from_ns(inode.ctime),
            .unused = {}};
}

UserStat stat_of(File& file) noexcept {
    if (file.inode)
        return stat_of(*file.inode);
    UserStat out{};
    out.device = make_device(0, 9);
    out.inode = reinterpret_cast<std::uintptr_t>(file.data) >> 4U & 0xffffffffU;
    out.links = 1;
    out.mode = file.ops->anonymous_mode();
    out.block_size = 4096;
    return out;
}

Result<UserStat> stat_named(int dirfd, UserAddress name, int flags) noexcept {
    UserPath path;
    TRY(path.load(name));
    if (path.text().empty() && (flags & at_empty_path) != 0) {
        if (dirfd == at_fdcwd)
            return stat_of(*current_fs().cwd.inode());
        return stat_of(*TRY(file_of(dirfd)));
    }
    StartingPoint start;
    TRY(start.load(dirfd, path.text()));
    auto found = TRY(
        vfs::lookup(path.text(), start.get(), {.follow_last = (flags & at_symlink_nofollow) == 0}));
    return stat_of(*found.inode());
}

Status sys_newfstatat(int dirfd, UserAddress name, UserAddress out, int flags) noexcept {
    return write_user(out, TRY(stat_named(dirfd, name, flags)));
}
Status sys_stat(UserAddress name, UserAddress out) noexcept {
    return sys_newfstatat(at_fdcwd, name, out, 0);
}
Status sys_lstat(UserAddress name, UserAddress out) noexcept {
    return sys_newfstatat(at_fdcwd, name, out, at_symlink_nofollow);
}
Status sys_fstat(int fd, UserAddress out) noexcept {
    return write_user(out, stat_of(*TRY(file_of(fd))));
}

UserStatxTime statx_time(const UserTimespec& t) noexcept {
    return {t.seconds, static_cast<std::uint32_t>(t.nanoseconds), 0};
}

Status sys_statx(int dirfd, UserAddress name, int flags, std::uint32_t, UserAddress out) noexcept {
    const UserStat from = TRY(stat_named(dirfd, name, flags));
    constexpr std::uint32_t basic = 0x7ff;
    UserStatx to{};
    to.mask = basic;
    to.block_size = static_cast<std::uint32_t>(from.block_size);
    to.links = static_cast<std::uint32_t>(from.links);
    to.uid = from.uid;
    to.gid = from.gid;
    to.mode = static_cast<std::uint16_t>(from.mode);
    to.inode = from.inode;
    to.size = static_cast<std::uint64_t>(from.size);
    to.blocks = static_cast<std::uint64_t>(from.blocks);
    to.atime = statx_time(from.atime);
    to.ctime = statx_time(from.ctime);
    to.mtime = statx_time(from.mtime);
    to.special_major = device_major(from.special_device);
    to.special_minor = device_minor(from.special_device);
    to.device_major = device_major(from.device);
    to.device_minor = device_minor(from.device);
    return write_user(out, to);
}

struct UserStatfs {
    std::int64_t type, block_size, blocks, blocks_free, blocks_available, files, files_free;
    std::int32_t id[2];
    std::int64_t name_length, fragment_size, flags, spare[4];
};
static_assert(sizeof(UserStatfs) == 120);

Status write_statfs(UserAddress out, Superblock& sb, std::uint32_t mount_flags) noexcept {
    const FileSystemStatistics from = sb.statistics();
    UserStatfs to{};
    to.type = static_cast<std::int64_t>(from.type);
    to.block_size = to.fragment_size = static_cast<std::int64_t>(from.block_size);
    to.blocks = static_cast<std::int64_t>(from.blocks);
    to.blocks_free = static_cast<std::int64_t>(from.blocks_free);
    to.blocks_available = static_cast<std::int64_t>(from.blocks_available);
    to.files = static_cast<std::int64_t>(from.files);
    to.files_free = static_cast<std::int64_t>(from.files_free);
    to.id[0] = static_cast<std::int32_t>(sb.device);
    to.name_length = static_cast<std::int64_t>(from.name_length);
    to.flags = (mount_flags & 0xfU) | (sb.is_read_only() ? 1U : 0U) | 0x20U;
    return write_user(out, to);
}

Status sys_statfs(UserAddress name, UserAddress out) noexcept {
    UserPath path;
    TRY(path.load(name));
    auto found = TRY(vfs::lookup(path.text()));
    return write_statfs(out, *found.mount->superblock, found.mount->flags);
}
Status sys_fstatfs(int fd, UserAddress out) noexcept {
    auto file = TRY(file_of(fd));
    if (!file->inode)
        return Errno::nosys;
    return write_statfs(out, file->inode->superblock, file->path ? file->path.mount->flags : 0);
}

CERO_SYSCALL(4, stat);
CERO_SYSCALL(5, fstat);
CERO_SYSCALL(6, lstat);
CERO_SYSCALL(137, statfs);
CERO_SYSCALL(138, fstatfs);
CERO_SYSCALL(262, newfstatat);
CERO_SYSCALL(332, statx);

} // namespace
} // namespace kernel
