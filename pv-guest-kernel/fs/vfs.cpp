// SPDX-License-Identifier: BSD-2-Clause
// The VFS operations on names: open, create, link, rename, remove, and the checks that come with
// them.
#include "char_device.hpp"
#include "dentry_cache.hpp"
#include "mount_table.hpp"
#include "path_walk.hpp"
#include "pipe.hpp"
#include "vfs_operations.hpp"
#include <kernel/memory.hpp>
#include <kernel/time.hpp>

#include <cstring>

namespace kernel {

Result<Ref<FsContext>> FsContext::create(Path root, Path cwd) noexcept {
    auto* context = new (std::nothrow) FsContext;
    if (context == nullptr)
        return Errno::nomem;
    context->root = std::move(root);
    context->cwd = std::move(cwd);
    return Ref<FsContext>::adopt(context);
}

Result<Ref<FsContext>> FsContext::duplicate() noexcept {
    auto copy = TRY(create(root.clone(), cwd.clone()));
    copy->umask = umask;
    return copy;
}

namespace vfs {

namespace {

/// Of O_PATH descriptors.
class NoOps final : public FileOps {};
NoOps no_operations;

/// Precondition: directory.lock is held.
Status check_is_free(Inode& directory, std::string_view name) noexcept {
    auto there = directory.lookup(name);
    if (there)
        return Errno::exist;
    return there.error() == Errno::noent ? Status{} : Status{there.error()};
}
Status check_directory_change(const Path& directory) noexcept {
    TRY(check_writable(directory));
    if (directory.dentry->is_deleted())
        return Errno::noent;
    return check_access(*directory.inode(), 2 | 1);
}

bool is_dots(std::string_view name) noexcept {
    return name == "." || name == "..";
}

/// The sticky bit: only the owner of the entry, of the directory, or root removes.
Status check_removable(const Inode& directory, const Inode& victim) noexcept {
    const Credentials& who = current_credentials();
    if ((directory.mode & mode::sticky) != 0 && who.euid != 0 && who.euid != victim.uid &&
        who.euid != directory.uid)
        return Errno::perm;
    return {};
}

void own(Inode& inode, const Inode& directory) noexcept {
    const Credentials& who = current_credentials();
    inode.uid = who.euid;
    inode.gid = (directory.mode & mode::set_gid) != 0 ? directory.gid : who.egid;
    if (inode.is_directory() && (directory.mode & mode::set_gid) != 0)
        inode.mode |= mode::set_gid;
    inode.mark_dirty();
}

/// What the name in `place` is now, or noent; the directory's lock is not held.
Result<Ref<Dentry>> existing(const path_walk::Place& place) noexcept {
    return DentryCache::lookup(*place.directory.dentry, place.name);
}

Result<Ref<Dentry>> create_in(const path_walk::Place& place, std::uint32_t file_mode,
                              DeviceNumber device, std::string_view target) noexcept {
    TRY(check_directory_change(place.directory));
    if (is_dots(place.name))
        return Errno::exist;
    Inode& directory = *place.directory.inode();
    Ref<Inode> inode;
    {
        MutexGuard guard{directory.lock};
        TRY(check_is_free(directory, place.name));
        const bool link = (file_mode & mode::type_mask) == mode::symlink;
        inode = link ? TRY(directory.symlink(place.name, target))
                     : TRY(directory.create(place.name, file_mode, device));
                     own(*inode, directory);
    }
    return DentryCache::add(*place.directory.dentry, place.name, std::move(inode));
}

std::uint32_t with_umask(std::uint32_t permissions) noexcept {
    return permissions & 07777U & ~current_fs().umask;
}

Status truncate_for_open(Inode& inode) noexcept {
    AttributeChange change;
    change.valid = AttributeChange::set_size | AttributeChange::set_mtime;
    change.mtime = wall_ns();
    MutexGuard guard{inode.lock};
    return inode.change(change);
}

std::uint32_t wanted_access(std::uint32_t flags) noexcept {
    switch (flags & open_flag::access_mask) {
    case open_flag::rdonly:
        return 4;
    case open_flag::wronly:
        return 2;
    default:
        return 6;
    }
}

struct Opened {
    Path path;
    bool created;
};

/// Finds or creates what open() names. O_CREAT follows a dangling link to where it points.
Result<Opened> find_or_create(std::string_view name, std::uint32_t flags, std::uint32_t file_mode,
                              const Path* at) noexcept {
    path_walk::Walk state;
    const bool follow = (flags & (open_flag::nofollow | open_flag::excl)) == 0;
    auto place = TRY(path_walk::parent(state, name, at));
    for (;;) {
        if (is_dots(place.name) || place.trailing_slash)
            return Errno::isdir;
        auto found = path_walk::child(place.directory, place.name);
        if (!found && found.error() != Errno::noent)
            return found.error();
        if (!found) {
            auto dentry = TRY(create_in(place, mode::regular | with_umask(file_mode), 0, {}));
            return Opened{{place.directory.mount.clone(), std::move(dentry)}, true};
        }
        if ((flags & open_flag::excl) != 0)
            return Errno::exist;
        if (!found->inode()->is_symlink() || !follow)
            return Opened{std::move(*found), false};
        auto target = path_walk::follow(state, place.directory, *found, {});
        if (target)
            return Opened{std::move(*target), false};
        if (target.error() != Errno::noent)
            return target.error();
        // Dangling: create what the link names. The text must outlive the loop, so recurse once.
        auto* text = static_cast<char*>(kmalloc(path_walk::max_path));
        if (text == nullptr)
            return Errno::nomem;
        auto length = found->inode()->read_link(text, path_walk::max_path);
        Result<Opened> result = length ? find_or_create({text, *length}, flags | open_flag::excl,
                                                        file_mode, &place.directory)
                                       : Result<Opened>{length.error()};
        kfree(text);
        return result;
    }
}

} // namespace

Result<Path> lookup(std::string_view path, const Path* at, LookupFlags flags) noexcept {
    path_walk::Walk state;
    return path_walk::walk(state, path, at, flags);
}

Result<Ref<File>> open_path(Path path, std::uint32_t flags) noexcept {
    auto inode = Ref<Inode>::share(path.inode());
    if ((flags & open_flag::path) != 0) {
        return File::create(no_operations, std::move(path), std::move(inode), flags);
    }
    FileOps* ops = nullptr;
    void* context = nullptr;
    switch (inode->type()) {
    case mode::character:
        TRY(char_device::find(inode->device, ops, context));
        break;
    case mode::block:
        TRY(char_device::find_block(inode->device, ops, context));
        break;
    case mode::fifo:
        ops = &pipe::fifo_ops();
        break;
    case mode::socket:
        return Errno::nxio;
    case mode::symlink:
        return Errno::loop;
    default:
        ops = &inode->file_ops();
    }
    auto file = TRY(File::create(
        *ops, std::move(path), std::move(inode),
        flags & ~(open_flag::creat | open_flag::excl | open_flag::trunc | open_flag::noctty)));
    file->data = context;
    if ((flags & open_flag::noctty) != 0)
        file->flags |= open_flag::noctty; // the tty's open() looks at it
    if (auto opened = file->ops->open(*file); !opened) {
        file->ops = &no_operations; // release() must not see what open() refused
        return opened.error();
    }
    return file;
}

Result<Ref<File>> open(std::string_view name, std::uint32_t flags, std::uint32_t file_mode,
                       const Path* at) noexcept {
    Opened opened{};
    if ((flags & open_flag::tmpfile) == open_flag::tmpfile)
        return Errno::opnotsupp;
    if ((flags & open_flag::creat) != 0 && (flags & open_flag::path) == 0) {
        opened = TRY(find_or_create(name, flags, file_mode, at));
    } else {
        opened.path = TRY(lookup(name, at,
                                 {.follow_last = (flags & open_flag::nofollow) == 0,
                                  .want_directory = (flags & open_flag::directory) != 0}));
    }
    Inode& inode = *opened.path.inode();
    if ((flags & open_flag::path) == 0) {
        if (inode.is_symlink())
            return Errno::loop;
        const bool writes = (flags & open_flag::access_mask) != open_flag::rdonly;
        const bool truncates = (flags & open_flag::trunc) != 0;
        if (inode.is_directory() && (writes || (flags & open_flag::creat) != 0))
            return Errno::isdir;
        if (!opened.created)
            TRY(check_access(inode, wanted_access(flags) | (truncates ? 2U : 0U)));
        if ((writes || truncates) && inode.is_regular())
            TRY(check_writable(opened.path));
        if (truncates && inode.is_regular() && inode.size != 0)
            TRY(truncate_for_open(inode));
    }
    return open_path(std::move(opened.path), flags);
}

Result<Ref<File>> open_executable(std::string_view name, const Path* at) noexcept {
    auto path = TRY(lookup(name, at));
    if (!path.inode()->is_regular())
        return Errno::acces;
    TRY(check_access(*path.inode(), 1));
    return open_path(std::move(path), open_flag::rdonly);
}

Status make_directory(std::string_view name, std::uint32_t permissions, const Path* at) noexcept {
    path_walk::Walk state;
    auto place = TRY(path_walk::parent(state, name, at));
    TRY(create_in(place, mode::directory | with_umask(permissions), 0, {}));
    return {};
}

Status make_node(std::string_view name, std::uint32_t file_mode, DeviceNumber device,
                 const Path* at) noexcept {
    path_walk::Walk state;
    auto place = TRY(path_walk::parent(state, name, at));
    const std::uint32_t type = file_mode & mode::type_mask;
    if ((type == mode::character || type == mode::block) && current_credentials().euid != 0)
        return Errno::perm;
    TRY(create_in(place, (type == 0 ? mode::regular : type) | with_umask(file_mode), device, {}));
    return {};
}

Result<Path> make_socket_node(std::string_view name, std::uint32_t permissions) noexcept {
    path_walk::Walk state;
    auto place = TRY(path_walk::parent(state, name, nullptr));
    auto created = create_in(place, mode::socket | with_umask(permissions), 0, {});
    if (!created)
        return created.error() == Errno::exist ? Errno::addrinuse : created.error();
    return Path{place.directory.mount.clone(), std::move(*created)};
}

Status make_symlink(std::string_view target, std::string_view name, const Path* at) noexcept {
    path_walk::Walk state;
    if (target.empty())
        return Errno::noent;
    auto place = TRY(path_walk::parent(state, name, at));
    TRY(create_in(place, mode::symlink | 0777U, 0, target));
    return {};
}

Status make_link(const Path& from, std::string_view name, const Path* at) noexcept {
    path_walk::Walk state;
    auto place = TRY(path_walk::parent(state, name, at));
    if (from.mount->superblock.get() != place.directory.mount->superblock.get())
        return Errno::xdev;
    if (from.inode()->is_directory())
        return Errno::perm;
    TRY(check_directory_change(place.directory));
    if (is_dots(place.name))
        return Errno::exist;
    Inode& directory = *place.directory.inode();
    {
        MutexGuard guard{directory.lock};
        TRY(check_is_free(directory, place.name));
        TRY(directory.link(place.name, *from.inode()));
    }
    TRY(DentryCache::add(*place.directory.dentry, place.name, Ref<Inode>::share(from.inode())));
    return {};
}

Status remove(std::string_view name, const Path* at, bool directory_wanted) noexcept {
    path_walk::Walk state;
    auto place = TRY(path_walk::parent(state, name, at));
    if (is_dots(place.name))
        return directory_wanted ? Errno::inval : Errno::isdir;
    TRY(check_directory_change(place.directory));
    auto victim = TRY(existing(place));
    Inode& inode = victim->inode();
    Inode& directory = *place.directory.inode();
    if (directory_wanted && !inode.is_directory())
        return Errno::notdir;
    if (!directory_wanted && inode.is_directory())
        return Errno::isdir;
    if (!directory_wanted && place.trailing_slash)
        return Errno::notdir;
    TRY(check_removable(directory, inode));
    if (victim->is_mount_point())
        return Errno::busy;
    {
        MutexGuard guard{directory.lock};
        if (directory_wanted) {
            MutexGuard victim_guard{inode.lock};
            TRY(directory.remove_directory(place.name, inode));
        } else {
            TRY(directory.unlink(place.name, inode));
        }
    }
    DentryCache::remove(*victim);
    return {};
}

namespace {

bool is_below(const Dentry* what, const Dentry& top) noexcept {
    for (; what != nullptr; what = what->parent())
        if (what == &top)
            return true;
    return false;
}

/// Two directory locks in address order.
class TwoLocks {
public:
    TwoLocks(Mutex& a, Mutex& b) noexcept : first_{&a < &b ? a : b}, second_{&a < &b ? b : a} {
        first_.lock();
        if (&first_ != &second_)
            second_.lock();
    }
    ~TwoLocks() {
        if (&first_ != &second_)
            second_.unlock();
        first_.unlock();
    }
    TwoLocks(const TwoLocks&) = delete;
    TwoLocks& operator=(const TwoLocks&) = delete;

private:
    Mutex& first_;
    Mutex& second_;
};

/// The target's type must suit the source's.
Status check_replacement(const Inode& source, const Inode& target) noexcept {
    if (source.is_directory() && !target.is_directory())
        return Errno::notdir;
    if (!source.is_directory() && target.is_directory())
        return Errno::isdir;
    return {};
}

} // namespace

Status rename(std::string_view old_name, const Path* old_at, std::string_view new_name,
              const Path* new_at, std::uint32_t flags) noexcept {
    constexpr std::uint32_t no_replace = 1;
    if ((flags & ~no_replace) != 0)
        return Errno::inval;
    path_walk::Walk state;
    auto from = TRY(path_walk::parent(state, old_name, old_at));
    auto to = TRY(path_walk::parent(state, new_name, new_at));
    if (from.directory.mount->superblock.get() != to.directory.mount->superblock.get())
        return Errno::xdev;
    if (is_dots(from.name) || is_dots(to.name))
        return Errno::busy;
    TRY(check_directory_change(from.directory));
    TRY(check_directory_change(to.directory));
    auto source = TRY(existing(from));
    auto found = existing(to);
    if (!found && found.error() != Errno::noent)
        return found.error();
    auto target = found ? std::move(*found) : Ref<Dentry>{};
    if (target && (flags & no_replace) != 0)
        return Errno::exist;
    if (target && &target->inode() == &source->inode())
        return {};
    if (source->is_mount_point() || (target && target->is_mount_point()))
        return Errno::busy;
    if (target)
        TRY(check_replacement(source->inode(), target->inode()));
    if (source->inode().is_directory() && is_below(to.directory.dentry.get(), *source))
        return Errno::inval;
    TRY(check_removable(*from.directory.inode(), source->inode()));
    auto* text = static_cast<char*>(kmalloc(to.name.size() + 1));
    if (text == nullptr)
        return Errno::nomem;
    std::memcpy(text, to.name.data(), to.name.size());
    text[to.name.size()] = 0;
    Inode& from_inode = *from.directory.inode();
    Inode& to_inode = *to.directory.inode();
    Status status;
    {
        TwoLocks guard{from_inode.lock, to_inode.lock};
        status = from_inode
                     .rename(from.name, source->inode(), to_inode, to.name,
                             target ? &target->inode() : nullptr)
                     .error();
    }
    if (!status) {
        kfree(text);
        return status;
    }
    if (target)
        DentryCache::remove(*target);
    DentryCache::move(*source, *to.directory.dentry, text, to.name.size());
    return {};
}

Result<std::size_t> name_of(const Path& path, char* out, std::size_t size) noexcept {
    if (size < 2)
        return Errno::range;
    const FsContext& fs = current_fs();
    std::size_t at = size - 1; // filled from the end
    const Mount* mount = path.mount.get();
    const Dentry* dentry = path.dentry.get();
    const bool deleted = dentry->is_deleted();
    while (!(mount == fs.root.mount.get() && dentry == fs.root.dentry.get())) {
        if (dentry == mount->root.get()) {
            if (!mount->parent)
                break;
            dentry = mount->mount_point.get();
            mount = mount->parent.get();
            continue;
        }
        if (dentry->parent() == nullptr)
            break;
        const std::string_view name = dentry->name();
        if (name.size() + 1 > at)
            return Errno::range;
        at -= name.size();
        std::memcpy(out + at, name.data(), name.size());
        out[--at] = '/';
        dentry = dentry->parent();
    }
    if (at == size - 1)
        out[--at] = '/';
    std::size_t length = size - 1 - at;
    std::memmove(out, out + at, length);
    constexpr std::string_view suffix = " (deleted)";
    if (deleted && length + suffix.size() < size) {
        std::memcpy(out + length, suffix.data(), suffix.size());
        length += suffix.size();
    }
    out[length] = 0;
    return length;
}

Result<Ref<FsContext>> root_context() noexcept {
    MountTable& table = MountTable::instance();
    if (!table.root)
        return Errno::noent;
    Path root{table.root.clone(), table.root->root.clone()};
    MountTable::descend(root);
    Path cwd = root.clone();
    return FsContext::create(std::move(root), std::move(cwd));
}

Status mount_root() noexcept {
    FileSystemType* type = find_file_system("tmpfs");
    if (type == nullptr)
        return Errno::nodev;
    auto superblock = TRY(type->mount("rootfs", 0, ""));
    auto mount = TRY(Mount::create(std::move(superblock), "rootfs", 0));
    return MountTable::attach(std::move(mount), Path{});
}

} // namespace vfs
} // namespace kernel
