// SPDX-License-Identifier: BSD-2-Clause
// System calls on names: open, create, remove, rename, links, attributes, working directory,
// mounts.
#include "syscall_support.hpp"
#include "text.hpp"
#include <kernel/time.hpp>

#include <cstring>

namespace kernel {

namespace {

struct Named {
    UserPath path;
    StartingPoint start;
    Status load(int dirfd, UserAddress name) noexcept {
        TRY(path.load(name));
        return start.load(dirfd, path.text());
    }
    [[nodiscard]] std::string_view text() const noexcept { return path.text(); }
    [[nodiscard]] const Path* at() const noexcept { return start.get(); }

    /// The path that the arguments name; AT_EMPTY_PATH means the descriptor itself.
    Result<Path> find(int dirfd, int flags) const noexcept {
        if (text().empty() && (flags & at_empty_path) != 0) {
            if (dirfd == at_fdcwd)
                return current_fs().cwd.clone();
            auto file = TRY(file_of(dirfd));
            if (!file->path)
                return Errno::badf;
            return file->path.clone();
        }
        return vfs::lookup(text(), at(), {.follow_last = (flags & at_symlink_nofollow) == 0});
    }
};

Result<int> sys_openat(int dirfd, UserAddress name, std::uint32_t flags,
                       std::uint32_t mode) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    auto file = TRY(vfs::open(named.text(), flags & ~open_flag::cloexec, mode, named.at()));
    return current_files().install(std::move(file), (flags & open_flag::cloexec) != 0);
}
Result<int> sys_open(UserAddress name, std::uint32_t flags, std::uint32_t mode) noexcept {
    return sys_openat(at_fdcwd, name, flags, mode);
}
Result<int> sys_creat(UserAddress name, std::uint32_t mode) noexcept {
    return sys_openat(at_fdcwd, name, open_flag::creat | open_flag::wronly | open_flag::trunc,
                      mode);
}

struct OpenHow {
    std::uint64_t flags, mode, resolve;
};
Result<int> sys_openat2(int dirfd, UserAddress name, UserAddress how, std::size_t size) noexcept {
    if (size < sizeof(OpenHow))
        return Errno::inval;
    const auto wanted = TRY(read_user<OpenHow>(how));
    if (wanted.resolve != 0)
        return Errno::opnotsupp;
    return sys_openat(dirfd, name, static_cast<std::uint32_t>(wanted.flags),
                      static_cast<std::uint32_t>(wanted.mode));
}

Status sys_mkdirat(int dirfd, UserAddress name, std::uint32_t mode) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    return vfs::make_directory(named.text(), mode, named.at());
}
Status sys_mkdir(UserAddress name, std::uint32_t mode) noexcept {
    return sys_mkdirat(at_fdcwd, name, mode);
}

Status sys_mknodat(int dirfd, UserAddress name, std::uint32_t mode, std::uint64_t device) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    return vfs::make_node(named.text(), mode, device, named.at());
}
Status sys_mknod(UserAddress name, std::uint32_t mode, std::uint64_t device) noexcept {
    return sys_mknodat(at_fdcwd, name, mode, device);
}

Status sys_unlinkat(int dirfd, UserAddress name, int flags) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    return vfs::remove(named.text(), named.at(), (flags & at_remove_directory) != 0);
}
Status sys_unlink(UserAddress name) noexcept {
    return sys_unlinkat(at_fdcwd, name, 0);
}
Status sys_rmdir(UserAddress name) noexcept {
    return sys_unlinkat(at_fdcwd, name, at_remove_directory);
}

Status sys_renameat2(int from_fd, UserAddress from, int to_fd, UserAddress to,
                     std::uint32_t flags) noexcept {
    Named old_name;
    Named new_name;
    TRY(old_name.load(from_fd, from));
    TRY(new_name.load(to_fd, to));
    return vfs::rename(old_name.text(), old_name.at(), new_name.text(), new_name.at(), flags);
}
Status sys_renameat(int from_fd, UserAddress from, int to_fd, UserAddress to) noexcept {
    return sys_renameat2(from_fd, from, to_fd, to, 0);
}
Status sys_rename(UserAddress from, UserAddress to) noexcept {
    return sys_renameat2(at_fdcwd, from, at_fdcwd, to, 0);
}

Status sys_linkat(int from_fd, UserAddress from, int to_fd, UserAddress to, int flags) noexcept {
    Named old_name;
    Named new_name;
    TRY(old_name.load(from_fd, from));
    TRY(new_name.load(to_fd, to));
    const int follow = (flags & at_symlink_follow) != 0 ? 0 : at_symlink_nofollow;
    auto source = TRY(old_name.find(from_fd, follow | (flags & at_empty_path)));
    return vfs::make_link(source, new_name.text(), new_name.at());
}
Status sys_link(UserAddress from, UserAddress to) noexcept {
    return sys_linkat(at_fdcwd, from, at_fdcwd, to, 0);
}

Status sys_symlinkat(UserAddress target, int dirfd, UserAddress name) noexcept {
    UserPath text;
    Named named;
    TRY(text.load(target));
    TRY(named.load(dirfd, name));
    return vfs::make_symlink(text.text(), named.text(), named.at());
}
Status sys_symlink(UserAddress target, UserAddress name) noexcept {
    return sys_symlinkat(target, at_fdcwd, name);
}

Result<std::size_t> sys_readlinkat(int dirfd, UserAddress name, UserAddress out,
                                   std::size_t size) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    if (size == 0)
        return Errno::inval;
    auto path = TRY(named.find(dirfd, at_symlink_nofollow | at_empty_path));
    if (!path.inode()->is_symlink())
        return Errno::inval;
    auto* text = static_cast<char*>(kmalloc(path_walk::max_path));
    if (text == nullptr)
        return Errno::nomem;
    auto length = path.inode()->read_link(text, path_walk::max_path);
    if (length && *length > size)
        *length = size;
    Status copied = length ? copy_to_user(out, text, *length) : Status{length.error()};
    kfree(text);
    if (!copied)
        return copied.error();
    return length;
}
Result<std::size_t> sys_readlink(UserAddress name, UserAddress out, std::size_t size) noexcept {
    return sys_readlinkat(at_fdcwd, name, out, size);
}

Status change_named(int dirfd, UserAddress name, int flags,
                    const AttributeChange& change) noexcept {
    Named named;
    TRY(named.load(dirfd, name));
    return vfs::set_attributes(TRY(named.find(dirfd, flags)), change);
}
Status change_open(int fd, const AttributeChange& change) noexcept {
    auto file = TRY(file_of(fd));
    if (file->path)
        return vfs::set_attributes(file->path, change);
    if (!file->inode)
        return {};
    MutexGuard guard{file->inode->lock};
    return file->inode->change(change);
}

AttributeChange mode_change(std::uint32_t mode) noexcept {
    AttributeChange change;
    change.valid = AttributeChange::set_mode;
    change.mode = mode;
    return change;
}
AttributeChange owner_change(std::uint32_t uid, std::uint32_t gid) noexcept {
    AttributeChange change;
    constexpr std::uint32_t keep = ~0U;
    change.valid = (uid != keep ? AttributeChange::set_uid : 0U) |
                   (gid != keep ? AttributeChange::set_gid : 0U);
    change.uid = uid;
    change.gid = gid;
    return change;
}

Status sys_fchmodat(int dirfd, UserAddress name, std::uint32_t mode) noexcept {
    return change_named(dirfd, name, 0, mode_change(mode));
}
Status sys_chmod(UserAddress name, std::uint32_t mode) noexcept {
    return sys_fchmodat(at_fdcwd, name, mode);
}
Status sys_fchmod(int fd, std::uint32_t mode) noexcept {
    return change_open(fd, mode_change(mode));
}
Status sys_fchownat(int dirfd, UserAddress name, std::uint32_t uid, std::uint32_t gid,
                    int flags) noexcept {
    return change_named(dirfd, name, flags, owner_change(uid, gid));
}
Status sys_chown(UserAddress name, std::uint32_t uid, std::uint32_t gid) noexcept {
    return sys_fchownat(at_fdcwd, name, uid, gid, 0);
}
Status sys_lchown(UserAddress name, std::uint32_t uid, std::uint32_t gid) noexcept {
    return sys_fchownat(at_fdcwd, name, uid, gid, at_symlink_nofollow);
}
Status sys_fchown(int fd, std::uint32_t uid, std::uint32_t gid) noexcept {
    return change_open(fd, owner_change(uid, gid));
}

constexpr std::int64_t utime_now = 0x3fffffff;
constexpr std::int64_t utime_omit = 0x3ffffffe;

Status set_times(int dirfd, UserAddress name, const UserTimespec (&times)[2], int flags) noexcept {
    AttributeChange change;
    const FileTime now = wall_ns();
    auto decode = [&](const UserTimespec& t, std::uint32_t bit, FileTime& out) -> Status {
        if (t.nanoseconds == utime_omit)
            return {};
        change.valid |= bit;
        if (t.nanoseconds == utime_now) {
            out = now;
            return {};
        }
        if (!t.is_valid())
            return Errno::inval;
        out = t.to_ns();
        return {};
    };
    TRY(decode(times[0], AttributeChange::set_atime, change.atime));
    TRY(decode(times[1], AttributeChange::set_mtime, change.mtime));
    if (name == 0)
        return change_open(dirfd, change);
    return change_named(dirfd, name, flags, change);
}

Status sys_utimensat(int dirfd, UserAddress name, UserAddress times, int flags) noexcept {
    UserTimespec both[2] = {{0, utime_now}, {0, utime_now}};
    if (times != 0)
        TRY(copy_from_user(both, times, sizeof(both)));
    return set_times(dirfd, name, both, flags);
}
Status sys_futimesat(int dirfd, UserAddress name, UserAddress times) noexcept {
    UserTimespec both[2] = {{0, utime_now}, {0, utime_now}};
    if (times != 0) { // microseconds
        TRY(copy_from_user(both, times, sizeof(both)));
        for (UserTimespec& t : both)
            t.nanoseconds *= 1000;
    }
    return set_times(dirfd, name, both, 0);
}
Status sys_utimes(UserAddress name, UserAddress times) noexcept {
    return sys_futimesat(at_fdcwd, name, times);
}
Status sys_utime(UserAddress name, UserAddress times) noexcept {
    UserTimespec both[2] = {{0, utime_now}, {0, utime_now}};
    if (times != 0) {
        std::int64_t seconds[2];
        TRY(copy_from_user(seconds, times, sizeof(seconds)));
        both[0] = {seconds[0], 0};
        both[1] = {seconds[1], 0};
    }
    return set_times(at_fdcwd, name, both, 0);
}

Status sys_truncate(UserAddress name, std::int64_t size) noexcept {
    Named named;
    TRY(named.load(at_fdcwd, name));
    if (size < 0)
        return Errno::inval;
    auto path = TRY(named.find(at_fdcwd, 0));
    TRY(vfs::check_access(*path.inode(), 2));
    return vfs::truncate(*path.inode(), static_cast<std::uint64_t>(size));
}

Status sys_faccessat2(int dirfd, UserAddress name, std::uint32_t wanted, int flags) noexcept {
    constexpr int effective_ids = 0x200;
    Named named;
    TRY(named.load(dirfd, name));
    auto path = TRY(named.find(dirfd, flags));
    const Credentials& who = current_credentials();
    if ((wanted & 2) != 0 && path.mount->superblock->is_read_only())
        return Errno::rofs;
    return wanted == 0
               ? Status{}
               : vfs::check_access_as(*path.inode(), wanted & 7U,
                                      (flags & effective_ids) != 0 ? who.euid : who.uid, who);
}
Status sys_faccessat(int dirfd, UserAddress name, std::uint32_t wanted) noexcept {
    return sys_faccessat2(dirfd, name, wanted, 0);
}
Status sys_access(UserAddress name, std::uint32_t wanted) noexcept {
    return sys_faccessat2(at_fdcwd, name, wanted, 0);
}

Status sys_chdir(UserAddress name) noexcept {
    Named named;
    TRY(named.load(at_fdcwd, name));
    auto path = TRY(vfs::lookup(named.text(), nullptr, {.want_directory = true}));
    TRY(vfs::check_access(*path.inode(), 1));
    current_fs().cwd = std::move(path);
    return {};
}
Status sys_fchdir(int fd) noexcept {
    auto file = TRY(file_of(fd));
    if (!file->path || !file->inode->is_directory())
        return Errno::notdir;
    TRY(vfs::check_access(*file->inode, 1));
    current_fs().cwd = file->path.clone();
    return {};
}
Status sys_chroot(UserAddress name) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    Named named;
    TRY(named.load(at_fdcwd, name));
    current_fs().root = TRY(vfs::lookup(named.text(), nullptr, {.want_directory = true}));
    return {};
}
Result<std::size_t> copy_cwd(char* text, UserAddress out, std::size_t size) noexcept {
    const std::size_t length = TRY(vfs::name_of(current_fs().cwd, text, path_walk::max_path))
    +1;
    if (length > size)
        return Errno::range;
    TRY(copy_to_user(out, text, length));
    return length;
}
Result<std::size_t> sys_getcwd(UserAddress out, std::size_t size) noexcept {
    auto* text = static_cast<char*>(kmalloc(path_walk::max_path));
    if (text == nullptr)
        return Errno::nomem;
    auto result = copy_cwd(text, out, size);
    kfree(text);
    return result;
}
Result<std::uint32_t> sys_umask(std::uint32_t mask) noexcept {
    return std::exchange(current_fs().umask, mask & 0777U);
}

Status sys_mount(UserAddress source, UserAddress target, UserAddress type, std::uint64_t flags,
                 UserAddress data) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    UserPath source_text;
    UserPath target_text;
    UserPath type_text;
    UserPath options;
    if (source != 0)
        TRY(source_text.load(source));
    TRY(target_text.load(target));
    if (type != 0)
        TRY(type_text.load(type));
    if (data != 0)
        TRY(options.load(data));
    return vfs::mount(source_text.text().data() == nullptr ? "none" : source_text.text().data(),
                      target_text.text(),
                      type_text.text().data() == nullptr ? "" : type_text.text().data(),
                      static_cast<std::uint32_t>(flags),
                      options.text().data() == nullptr ? "" : options.text().data());
}
Status sys_umount2(UserAddress target, std::uint32_t flags) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    UserPath text;
    TRY(text.load(target));
    return vfs::unmount(text.text(), flags);
}

CERO_SYSCALL(2, open);
CERO_SYSCALL(21, access);
CERO_SYSCALL(76, truncate);
CERO_SYSCALL(79, getcwd);
CERO_SYSCALL(80, chdir);
CERO_SYSCALL(81, fchdir);
CERO_SYSCALL(82, rename);
CERO_SYSCALL(83, mkdir);
CERO_SYSCALL(84, rmdir);
CERO_SYSCALL(85, creat);
CERO_SYSCALL(86, link);
CERO_SYSCALL(87, unlink);
CERO_SYSCALL(88, symlink);
CERO_SYSCALL(89, readlink);
CERO_SYSCALL(90, chmod);
CERO_SYSCALL(91, fchmod);
CERO_SYSCALL(92, chown);
CERO_SYSCALL(93, fchown);
CERO_SYSCALL(94, lchown);
CERO_SYSCALL(95, umask);
CERO_SYSCALL(132, utime);
CERO_SYSCALL(133, mknod);
CERO_SYSCALL(161, chroot);
CERO_SYSCALL(165, mount);
CERO_SYSCALL(166, umount2);
CERO_SYSCALL(235, utimes);
CERO_SYSCALL(257, openat);
CERO_SYSCALL(258, mkdirat);
CERO_SYSCALL(259, mknodat);
CERO_SYSCALL(260, fchownat);
CERO_SYSCALL(261, futimesat);
CERO_SYSCALL(263, unlinkat);
CERO_SYSCALL(264, renameat);
CERO_SYSCALL(265, linkat);
CERO_SYSCALL(266, symlinkat);
CERO_SYSCALL(267, readlinkat);
CERO_SYSCALL(268, fchmodat);
CERO_SYSCALL(269, faccessat);
CERO_SYSCALL(280, utimensat);
CERO_SYSCALL(316, renameat2);
CERO_SYSCALL(437, openat2);
CERO_SYSCALL(439, faccessat2);

} // namespace
} // namespace kernel
