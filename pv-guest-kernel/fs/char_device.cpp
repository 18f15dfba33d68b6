// SPDX-License-Identifier: BSD-2-Clause
// Device registry and devtmpfs: one tmpfs tree, shared by all its mounts, holds a node for each
// device.
#include "char_device.hpp"
#include "dentry_cache.hpp"
#include "text.hpp"
#include "tmpfs.hpp"
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <cstring>
#include <new>

namespace kernel {

namespace {

struct Registration {
    DeviceNumber number;
    std::uint32_t type; ///< mode::character or mode::block
    FileOps* ops;
    void* context;
    char name[64];
    Registration* next;
};

Registration* registrations{};
Spinlock registry_lock;
std::uint32_t next_misc_minor = 64;

Superblock* tree() noexcept {
    static Superblock* shared;
    if (shared == nullptr) {
        auto made = tmpfs::make("devtmpfs");
        if (made)
            shared = (*std::move(made)).into_raw();
        if (shared != nullptr) {
            auto root = DentryCache::make_root(shared->root());
            if (root)
                shared->root_dentry = *std::move(root);
        }
    }
    return shared;
}

Registration* find_registration(DeviceNumber number, std::uint32_t type) noexcept {
    for (Registration* at = registrations; at != nullptr; at = at->next)
        if (at->number == number && at->type == type)
            return at;
    return nullptr;
}

/// The directory of `name` in the tree, made on the way; `leaf` is the last component.
Result<Ref<Dentry>> directory_for(std::string_view name, std::string_view& leaf,
                                  bool make) noexcept {
    Superblock* sb = tree();
    if (sb == nullptr)
        return Errno::nomem;
    auto here = sb->root_dentry.clone();
    for (;;) {
        const std::size_t slash = name.find('/');
        if (slash == std::string_view::npos) {
            leaf = name;
            return here;
        }
        const std::string_view part{name.data(), slash};
        auto next = DentryCache::lookup(*here, part);
        if (!next) {
            if (!make)
                return next.error();
            auto inode = TRY(here->inode().create(part, mode::directory | 0755U, 0));
            here = TRY(DentryCache::add(*here, part, std::move(inode)));
        } else {
            here = *std::move(next);
        }
        name.remove_prefix(slash + 1);
    }
}

Status add_node(const char* name, std::uint32_t file_mode, DeviceNumber number) noexcept {
    std::string_view leaf;
    auto directory = TRY(directory_for(name, leaf, true));
    if (directory->inode().lookup(leaf))
        return {};
    auto inode = TRY(directory->inode().create(leaf, file_mode, number));
    TRY(DentryCache::add(*directory, leaf, std::move(inode)));
    return {};
}

void remove_node(const char* name) noexcept {
    std::string_view leaf;
    auto directory = directory_for(name, leaf, false);
    if (!directory)
        return;
    auto dentry = DentryCache::lookup(**directory, leaf);
    if (!dentry)
        return;
    (void)(*directory)->inode().unlink(leaf, (*dentry)->inode());
    DentryCache::remove(**dentry);
}

Status add(const char* name, std::uint32_t type, DeviceNumber number, FileOps& ops, void* context,
           std::uint32_t permissions) noexcept {
    auto* entry = new (std::nothrow) Registration{number, type, &ops, context, {}, nullptr};
    if (entry == nullptr)
        return Errno::nomem;
    copy_text(entry->name, name);
    {
        SpinGuard guard{registry_lock};
        if (find_registration(number, type) == nullptr) {
            entry->next = registrations;
            registrations = entry;
            entry = nullptr;
        }
    }
    if (entry != nullptr) {
        delete entry;
        return Errno::exist;
    }
    return add_node(name, type | permissions, number);
}

Status remove(DeviceNumber number, std::uint32_t type) noexcept {
    Registration* found = nullptr;
    {
        SpinGuard guard{registry_lock};
        for (Registration** link = &registrations; *link != nullptr; link = &(*link)->next)
            if ((*link)->number == number && (*link)->type == type) {
                found = *link;
                *link = found->next;
                break;
            }
    }
    if (found == nullptr)
        return Errno::nodev;
    remove_node(found->name);
    delete found;
    return {};
}

Status find_in_registry(DeviceNumber number, std::uint32_t type, FileOps*& ops,
                        void*& context) noexcept {
    SpinGuard guard{registry_lock};
    Registration* found = find_registration(number, type);
    if (found == nullptr)
        return Errno::nxio;
    ops = found->ops;
    context = found->context;
    return {};
}

class DevType final : public FileSystemType {
public:
    constexpr DevType() noexcept : FileSystemType{"devtmpfs", false} {}
    Result<Ref<Superblock>> mount(const char*, std::uint32_t, const char*) noexcept override {
        Superblock* sb = tree();
        if (sb == nullptr)
            return Errno::nomem;
        return Ref<Superblock>::share(sb);
    }
};

} // namespace

Status register_char_device(const char* name, std::uint32_t major, std::uint32_t minor,
                            FileOps& ops, void* context, std::uint32_t permissions) noexcept {
    return add(name, mode::character, make_device(major, minor), ops, context, permissions);
}

Status unregister_char_device(std::uint32_t major, std::uint32_t minor) noexcept {
    return remove(make_device(major, minor), mode::character);
}

void register_misc_device(const char* name, FileOps& ops) noexcept {
    if (!register_char_device(name, misc_major, next_misc_minor++, ops))
        printk(Level::error, "%s: cannot make the device node\n", name);
}

namespace char_device {

Status find(DeviceNumber number, FileOps*& ops, void*& context) noexcept {
    return find_in_registry(number, mode::character, ops, context);
}
Status find_block(DeviceNumber number, FileOps*& ops, void*& context) noexcept {
    return find_in_registry(number, mode::block, ops, context);
}
Status add_block(const char* name, DeviceNumber number, FileOps& ops, void* context) noexcept {
    return add(name, mode::block, number, ops, context, 0660);
}
void remove_block(DeviceNumber number) noexcept {
    (void)remove(number, mode::block);
}

Status add_link(const char* name, const char* target) noexcept {
    std::string_view leaf;
    auto directory = TRY(directory_for(name, leaf, true));
    if (directory->inode().lookup(leaf))
        return Errno::exist;
    auto inode = TRY(directory->inode().symlink(leaf, target));
    TRY(DentryCache::add(*directory, leaf, std::move(inode)));
    return {};
}

void initialize() noexcept {
    static DevType type;
    register_file_system(type);
}

} // namespace char_device
} // namespace kernel
