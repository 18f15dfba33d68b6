// SPDX-License-Identifier: BSD-2-Clause
// Attributes of inodes: who may change them, who may use what they describe.
#include "mount_table.hpp"
#include "vfs_operations.hpp"
#include <kernel/time.hpp>

namespace kernel {

Status Inode::change(const AttributeChange& change) noexcept {
    if ((change.valid & AttributeChange::set_size) != 0)
        return Errno::inval;
    apply_attributes(*this, change);
    mark_dirty();
    return {};
}

void apply_attributes(Inode& inode, const AttributeChange& change) noexcept {
    using enum_type = AttributeChange;
    if ((change.valid & enum_type::set_mode) != 0)
        inode.mode = inode.type() | (change.mode & 07777U);
    if ((change.valid & enum_type::set_uid) != 0)
        inode.uid = change.uid;
    if ((change.valid & enum_type::set_gid) != 0)
        inode.gid = change.gid;
    if ((change.valid & enum_type::set_atime) != 0)
        inode.atime = change.atime;
    if ((change.valid & enum_type::set_mtime) != 0)
        inode.mtime = change.mtime;
    inode.ctime = wall_ns();
}

bool Credentials::in_group(std::uint32_t group) const noexcept {
    if (group == egid)
        return true;
    for (std::uint32_t i = 0; i < group_count; ++i)
        if (groups[i] == group)
            return true;
    return false;
}

namespace vfs {

Status check_writable(const Path& path) noexcept {
    constexpr std::uint32_t ms_rdonly = 1;
    if (path.mount->superblock->is_read_only() || (path.mount->flags & ms_rdonly) != 0)
        return Errno::rofs;
    return {};
}

Status check_access(Inode& inode, std::uint32_t wanted) noexcept {
    return check_access_as(inode, wanted, current_credentials().euid, current_credentials());
}

Status check_access_as(Inode& inode, std::uint32_t wanted, std::uint32_t uid,
                       const Credentials& who) noexcept {
    if (uid == 0) {
        const bool execute = (wanted & 1) != 0 && !inode.is_directory();
        return execute && (inode.mode & 0111U) == 0 ? Status{Errno::acces} : Status{};
    }
    std::uint32_t granted = inode.mode & 7U;
    if (inode.uid == uid)
        granted = (inode.mode >> 6U) & 7U;
    else if (who.in_group(inode.gid))
        granted = (inode.mode >> 3U) & 7U;
    return (granted & wanted) == wanted ? Status{} : Status{Errno::acces};
}

Status set_attributes(const Path& path, AttributeChange change) noexcept {
    Inode& inode = *path.inode();
    TRY(check_writable(path));
    const Credentials& who = current_credentials();
    const bool owner = who.euid == 0 || who.euid == inode.uid;
    if ((change.valid & AttributeChange::set_mode) != 0 && !owner)
        return Errno::perm;
    if ((change.valid & (AttributeChange::set_uid | AttributeChange::set_gid)) != 0) {
        const bool same_owner =
            (change.valid & AttributeChange::set_uid) == 0 || change.uid == inode.uid;
        if (who.euid != 0 && !(owner && same_owner && who.in_group(change.gid)))
            return Errno::perm;
        if (!inode.is_directory() && (change.valid & AttributeChange::set_mode) == 0) {
            change.valid |= AttributeChange::set_mode;
            change.mode = inode.mode & 01777U;
        }
    }
    MutexGuard guard{inode.lock};
    return inode.change(change);
}

Status truncate(Inode& inode, std::uint64_t size) noexcept {
    if (inode.is_directory())
        return Errno::isdir;
    if (!inode.is_regular())
        return Errno::inval;
    if (size > (std::uint64_t{1} << 62U))
        return Errno::fbig;
    AttributeChange change;
    change.valid = AttributeChange::set_size | AttributeChange::set_mtime;
    change.size = size;
    change.mtime = wall_ns();
    MutexGuard guard{inode.lock};
    return inode.change(change);
}

} // namespace vfs
} // namespace kernel
