// SPDX-License-Identifier: BSD-2-Clause
// MountTable, mount(2) and umount2(2), and the registry of file-system types.
#include "mount_table.hpp"
#include "dentry_cache.hpp"
#include "page_cache.hpp"
#include "text.hpp"
#include <kernel/log.hpp>

#include <cstring>
#include <new>

namespace kernel {

namespace {

FileSystemType* types{};
std::uint32_t next_mount_id = 1;
std::uint32_t next_anonymous_device = 1;

enum : std::uint32_t {
    ms_rdonly = 1,
    ms_remount = 32,
    ms_bind = 4096,
    ms_move = 8192,
    ms_private_mask = (1U << 17U) | (1U << 18U) | (1U << 19U) | (1U << 20U),
    mnt_detach = 2,
};

} // namespace

void register_file_system(FileSystemType& type) noexcept {
    FileSystemType** link = &types;
    while (*link != nullptr)
        link = &(*link)->next;
    *link = &type;
}

FileSystemType* find_file_system(std::string_view name) noexcept {
    for (FileSystemType* type = types; type != nullptr; type = type->next)
        if (name == type->name)
            return type;
    return nullptr;
}

FileSystemType* first_file_system() noexcept {
    return types;
}

Superblock::Superblock() noexcept : device{make_device(0, next_anonymous_device++)} {}
Superblock::~Superblock() = default;

MountTable& MountTable::instance() noexcept {
    static MountTable table;
    return table;
}

Result<Ref<Mount>> Mount::create(Ref<Superblock> sb, const char* source,
                                 std::uint32_t flags) noexcept {
    auto* mount = new (std::nothrow) Mount;
    if (mount == nullptr)
        return Errno::nomem;
    auto owner = Ref<Mount>::adopt(mount);
    if (!sb->root_dentry)
        sb->root_dentry = TRY(DentryCache::make_root(sb->root()));
    mount->root = sb->root_dentry.clone();
    mount->superblock = std::move(sb);
    mount->flags = flags;
    mount->id = next_mount_id++;
    copy_text(mount->source, source == nullptr ? "none" : source);
    return owner;
}

Ref<Mount> MountTable::find(const Mount& parent, const Dentry& point) noexcept {
    MountTable& self = instance();
    SpinGuard guard{self.lock};
    // The newest first: mounts stack.
    for (Mount* mount = self.all.back(); mount != nullptr;) {
        if (mount->parent.get() == &parent && mount->mount_point.get() == &point)
            return Ref<Mount>::share(mount);
        Mount* previous = nullptr;
        for (Mount& each : self.all) {
            if (&each == mount)
                break;
            previous = &each;
        }
        mount = previous;
    }
    return nullptr;
}

void MountTable::descend(Path& path) noexcept {
    while (path.dentry->is_mount_point()) {
        auto above = find(*path.mount, *path.dentry);
        if (!above)
            return;
        auto root = above->root.clone();
        path = Path{std::move(above), std::move(root)};
    }
}

Status MountTable::attach(Ref<Mount> mount, Path point) noexcept {
    MountTable& self = instance();
    SpinGuard guard{self.lock};
    if (point) {
        point.dentry->add_mount();
        mount->parent = std::move(point.mount);
        mount->mount_point = std::move(point.dentry);
    } else {
        self.root = mount.clone();
    }
    mount->attached = true;
    self.all.push_back(*mount.into_raw()); // the list owns the reference
    return {};
}

void MountTable::detach(Mount& mount) noexcept {
    MountTable& self = instance();
    Ref<Dentry> point;
    Ref<Mount> parent;
    {
        SpinGuard guard{self.lock};
        List::remove(mount);
        mount.attached = false;
        point = std::move(mount.mount_point);
        parent = std::move(mount.parent);
        point->remove_mount();
    }
    mount.put();
}

namespace vfs {

namespace {

Status bind_mount(const char* source, Path target) noexcept {
    auto from = TRY(lookup(source));
    auto mount =
        TRY(Mount::create(from.mount->superblock.clone(), from.mount->source, from.mount->flags));
    mount->root = std::move(from.dentry);
    return MountTable::attach(std::move(mount), std::move(target));
}

Status remount(Path& target, std::uint32_t flags) noexcept {
    Superblock& sb = *target.mount->superblock;
    if ((flags & ms_bind) == 0) {
        const bool read_only = (flags & ms_rdonly) != 0;
        if (read_only && !sb.read_only)
            TRY(sb.sync());
        TRY(sb.remount(flags));
        sb.read_only = read_only;
    }
    target.mount->flags = flags & ~static_cast<std::uint32_t>(ms_remount | ms_bind);
    return {};
}

} // namespace

Status mount(const char* source, std::string_view target, const char* type, std::uint32_t flags,
             const char* options) noexcept {
    auto place = TRY(lookup(target));
    if ((flags & ms_private_mask) != 0)
        return {}; // there is one mount namespace: propagation has no meaning
    if ((flags & ms_remount) != 0)
        return remount(place, flags);
    if ((flags & ms_bind) != 0)
        return bind_mount(source, std::move(place));
    if ((flags & ms_move) != 0)
        return Errno::inval;
    if (!place.inode()->is_directory())
        return Errno::notdir;
    FileSystemType* found = find_file_system(type);
    if (found == nullptr)
        return Errno::nodev;
    auto superblock = TRY(found->mount(source, flags, options));
    if ((flags & ms_rdonly) != 0)
        superblock->read_only = true;
    auto mount =
        TRY(Mount::create(std::move(superblock), source == nullptr ? "none" : source, flags));
    return MountTable::attach(std::move(mount), std::move(place));
}

Status unmount(std::string_view target, std::uint32_t flags) noexcept {
    auto place = TRY(lookup(target));
    auto mount = place.mount.clone();
    if (place.dentry.get() != mount->root.get())
        return Errno::inval;
    if (!mount->parent)
        return Errno::busy;
    place = Path{};
    auto superblock = mount->superblock.clone();
    const bool shared = superblock->references() > 2; // this one and the mount's
    if (!shared)
        TRY(superblock->sync());
    DentryCache::purge(*superblock);
    const bool busy = mount->references() > 2 || (!shared && superblock->is_busy());
    if (busy && (flags & mnt_detach) == 0)
        return Errno::busy;
    MountTable::detach(*mount);
    mount = nullptr;
    if (!busy && !shared) {
        superblock->root_dentry = nullptr;
        superblock->shut_down();
    }
    return {};
}

Status sync_all() noexcept {
    page_cache::write_back_all();
    MountTable& table = MountTable::instance();
    Errno error = Errno::ok;
    for (std::uint32_t id = 0;;) { // by id: the list may change while a file system sleeps
        Ref<Superblock> sb;
        {
            SpinGuard guard{table.lock};
            Mount* next = nullptr;
            for (Mount& mount : table.all)
                if (mount.id > id && (next == nullptr || mount.id < next->id))
                    next = &mount;
            if (next == nullptr)
                break;
            id = next->id;
            sb = next->superblock.clone();
        }
        if (auto status = sb->sync(); !status)
            error = status.error();
    }
    return error;
}

} // namespace vfs
} // namespace kernel
