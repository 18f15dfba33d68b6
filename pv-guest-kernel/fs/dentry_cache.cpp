// SPDX-License-Identifier: BSD-2-Clause
// DentryCache: a hash of names; entries nobody references wait on a list in order of last use.
#include "dentry_cache.hpp"
#include <kernel/memory.hpp>

#include <cstring>

namespace kernel {

DentryCache& DentryCache::instance() noexcept {
    static DentryCache cache;
    return cache;
}

Dentry::~Dentry() {
    kfree(name_);
}

void Dentry::last_put() noexcept {
    DentryCache::unused(*this);
}

std::size_t DentryCache::bucket_of(const Dentry& directory, std::string_view name) noexcept {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(&directory) >> 4U;
    for (const char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return (hash ^ (hash >> 29U)) % bucket_count;
}

Dentry* DentryCache::find(Dentry& directory, std::string_view name) noexcept {
    DentryCache& self = instance();
    for (Dentry* at = self.buckets_[bucket_of(directory, name)]; at != nullptr;
         at = at->hash_next_) {
        if (at->parent_.get() != &directory || at->name() != name)
            continue;
        if (at->unused_link_.is_linked()) {
            UnusedList::remove(*at);
            --self.unused_count_;
        }
        at->get();
        return at;
    }
    return nullptr;
}

void DentryCache::unhash(Dentry& dentry) noexcept {
    if (!dentry.hashed_ || dentry.is_root_)
        return;
    Dentry** link = &instance().buckets_[bucket_of(*dentry.parent_, dentry.name())];
    while (*link != &dentry)
        link = &(*link)->hash_next_;
    *link = dentry.hash_next_;
    dentry.hashed_ = false;
}

/// The last reference is gone: keep a name that is still true, destroy any other.
void DentryCache::unused(Dentry& dentry) noexcept {
    DentryCache& self = instance();
    Dentry* victim = nullptr;
    {
        SpinGuard guard{self.lock_};
        if (dentry.references() != 0 || dentry.unused_link_.is_linked())
            return;
        if (dentry.hashed_ && !dentry.is_root_ && dentry.inode_->names_are_stable() &&
            dentry.parent_->inode_->names_are_stable()) {
            self.unused_.push_back(dentry);
            if (++self.unused_count_ <= keep_unused)
                return;
            victim = self.unused_.pop_front();
            --self.unused_count_;
        } else {
            victim = &dentry;
        }
        unhash(*victim);
    }
    delete victim;
}

Result<Ref<Dentry>> DentryCache::add(Dentry& directory, std::string_view name,
                                     Ref<Inode> inode) noexcept {
    auto* dentry = new (std::nothrow) Dentry;
    auto* text = static_cast<char*>(kmalloc(name.size() + 1));
    if (dentry == nullptr || text == nullptr) {
        delete dentry;
        kfree(text);
        return Errno::nomem;
    }
    std::memcpy(text, name.data(), name.size());
    text[name.size()] = 0;
    dentry->name_ = text;
    dentry->name_length_ = static_cast<std::uint16_t>(name.size());
    dentry->parent_ = Ref<Dentry>::share(&directory);
    dentry->inode_ = std::move(inode);
    DentryCache& self = instance();
    SpinGuard guard{self.lock_};
    Dentry*& bucket = self.buckets_[bucket_of(directory, name)];
    dentry->hash_next_ = bucket;
    dentry->hashed_ = true;
    bucket = dentry;
    return Ref<Dentry>::adopt(dentry);
}

Result<Ref<Dentry>> DentryCache::make_root(Inode& inode) noexcept {
    auto* dentry = new (std::nothrow) Dentry;
    if (dentry == nullptr)
        return Errno::nomem;
    dentry->inode_ = Ref<Inode>::share(&inode);
    dentry->hashed_ = dentry->is_root_ = true;
    return Ref<Dentry>::adopt(dentry);
}

Result<Ref<Dentry>> DentryCache::lookup(Dentry& directory, std::string_view name) noexcept {
    Inode& inode = *directory.inode_;
    const bool stable = inode.names_are_stable();
    if (stable) {
        SpinGuard guard{instance().lock_};
        if (Dentry* found = find(directory, name))
            return Ref<Dentry>::adopt(found);
    }
    MutexGuard directory_guard{inode.lock};
    Dentry* found = nullptr;
    {
        SpinGuard guard{instance().lock_};
        found = find(directory, name);
    }
    auto known = Ref<Dentry>::adopt(found);
    if (known && stable)
        return known;
    auto child = TRY(inode.lookup(name));
    if (known) {
        if (known->inode_.get() == child.get() || known->inode_->number == child->number)
            return known;
        remove(*known);
    }
    return add(directory, name, std::move(child));
}

void DentryCache::remove(Dentry& dentry) noexcept {
    SpinGuard guard{instance().lock_};
    unhash(dentry);
}

void DentryCache::move(Dentry& dentry, Dentry& new_parent, char* new_name,
                       std::size_t length) noexcept {
    Ref<Dentry> old_parent;
    char* old_name = nullptr;
    DentryCache& self = instance();
    {
        SpinGuard guard{self.lock_};
        unhash(dentry);
        old_name = std::exchange(dentry.name_, new_name);
        dentry.name_length_ = static_cast<std::uint16_t>(length);
        old_parent = std::exchange(dentry.parent_, Ref<Dentry>::share(&new_parent));
        Dentry*& bucket = self.buckets_[bucket_of(new_parent, dentry.name())];
        dentry.hash_next_ = bucket;
        dentry.hashed_ = true;
        bucket = &dentry;
    }
    kfree(old_name);
}

void DentryCache::purge(Superblock& superblock) noexcept {
    DentryCache& self = instance();
    for (;;) { // destroying a child may make its parent unused, so start over
        Dentry* victim = nullptr;
        {
            SpinGuard guard{self.lock_};
            for (Dentry& dentry : self.unused_)
                if (&dentry.inode_->superblock == &superblock) {
                    victim = &dentry;
                    break;
                }
            if (victim == nullptr)
                return;
            UnusedList::remove(*victim);
            --self.unused_count_;
            unhash(*victim);
        }
        delete victim;
    }
}

void DentryCache::shrink(std::size_t keep) noexcept {
    DentryCache& self = instance();
    for (;;) {
        Dentry* victim = nullptr;
        {
            SpinGuard guard{self.lock_};
            if (self.unused_count_ <= keep)
                return;
            victim = self.unused_.pop_front();
            --self.unused_count_;
            unhash(*victim);
        }
        delete victim;
    }
}

} // namespace kernel
