// SPDX-License-Identifier: BSD-2-Clause
// DentryCache: finds (directory, name) without asking the file system, and keeps unused names for a
// while.
#pragma once

#include <kernel/vfs.hpp>

namespace kernel {

class DentryCache {
public:
    /// The entry `name` of `directory`; asks the file system when the cache does not know.
    static Result<Ref<Dentry>> lookup(Dentry& directory, std::string_view name) noexcept;
    /// Adds a name that a file system has just created.
    static Result<Ref<Dentry>> add(Dentry& directory, std::string_view name,
                                   Ref<Inode> inode) noexcept;
    static Result<Ref<Dentry>> make_root(Inode& inode) noexcept;
    /// The name no longer exists.
    static void remove(Dentry& dentry) noexcept;
    static void move(Dentry& dentry, Dentry& new_parent, char* new_name,
                     std::size_t length) noexcept;
    /// Forgets the unused names of a file system that is about to go.
    static void purge(Superblock& superblock) noexcept;
    static void shrink(std::size_t keep) noexcept;

private:
    friend class Dentry;
    using UnusedList = cero::IntrusiveList<Dentry, &Dentry::unused_link_>;
    static constexpr std::size_t bucket_count = 1024;
    static constexpr std::size_t keep_unused = 4096;

    static std::size_t bucket_of(const Dentry& directory, std::string_view name) noexcept;
    static Dentry* find(Dentry& directory, std::string_view name) noexcept;
    static void unhash(Dentry& dentry) noexcept;
    static void unused(Dentry& dentry) noexcept;

    static DentryCache& instance() noexcept;

    Spinlock lock_;
    Dentry* buckets_[bucket_count]{};
    UnusedList unused_;
    std::size_t unused_count_{};
};

} // namespace kernel
