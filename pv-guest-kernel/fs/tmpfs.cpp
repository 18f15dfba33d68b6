// SPDX-License-Identifier: BSD-2-Clause
// tmpfs: directories are ordered lists with a hash, file contents are page caches without a store.
#include "tmpfs.hpp"
#include "page_cache.hpp"
#include "vfs_operations.hpp"
#include <kernel/memory.hpp>
#include <kernel/time.hpp>

#include <cstring>
#include <new>

namespace kernel::tmpfs {

namespace {

class TmpSuperblock;

struct Entry {
    cero::ListLink order;
    Entry* hash_next;
    Ref<Inode> inode;
    std::uint64_t cookie; ///< position for readdir; grows, never reused
    std::uint32_t hash;
    std::uint16_t length;

    [[nodiscard]] char* name() noexcept {
        return reinterpret_cast<char*>(this + 1);
    } ///< behind the struct
    [[nodiscard]] std::string_view text() noexcept { return {name(), length}; }
};

std::uint32_t hash_of(std::string_view name) noexcept {
    std::uint32_t hash = 2166136261U;
    for (const char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return hash;
}

/// The entries of one directory. The inode's lock guards it.
class EntryTable {
public:
    EntryTable() noexcept = default;
    ~EntryTable() {
        while (Entry* entry = order_.front())
            erase(*entry);
        kfree(buckets_);
    }
    EntryTable(const EntryTable&) = delete;
    EntryTable& operator=(const EntryTable&) = delete;

    [[nodiscard]] Entry* find(std::string_view name) const noexcept {
        if (bucket_count_ == 0)
            return nullptr;
        const std::uint32_t hash = hash_of(name);
        for (Entry* at = buckets_[hash & (bucket_count_ - 1)]; at != nullptr; at = at->hash_next)
            if (at->hash == hash && at->text() == name)
                return at;
        return nullptr;
    }
    Status insert(std::string_view name, Ref<Inode> inode) noexcept {
        TRY(make_room());
        void* memory = kmalloc(sizeof(Entry) + name.size() + 1);
        if (memory == nullptr)
            return Errno::nospc;
        auto* entry = new (memory) Entry{};
        entry->inode = std::move(inode);
        entry->cookie = ++last_cookie_;
        entry->hash = hash_of(name);
        entry->length = static_cast<std::uint16_t>(name.size());
        std::memcpy(entry->name(), name.data(), name.size());
        link(*entry);
        order_.push_back(*entry);
        ++count_;
        return {};
    }
    void erase(Entry& entry) noexcept {
        Entry** at = &buckets_[entry.hash & (bucket_count_ - 1)];
        while (*at != &entry)
            at = &(*at)->hash_next;
        *at = entry.hash_next;
        Order::remove(entry);
        --count_;
        entry.~Entry();
        kfree(&entry);
    }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

    using Order = cero::IntrusiveList<Entry, &Entry::order>;
    [[nodiscard]] Order& order() noexcept { return order_; }

private:
    void link(Entry& entry) noexcept {
        Entry*& bucket = buckets_[entry.hash & (bucket_count_ - 1)];
        entry.hash_next = bucket;
        bucket = &entry;
    }
    Status make_room() noexcept {
        if (bucket_count_ != 0 && count_ < 2 * bucket_count_)
            return {};
        const std::size_t wanted = bucket_count_ == 0 ? 8 : bucket_count_ * 4;
        auto** fresh = static_cast<Entry**>(kzalloc(wanted * sizeof(Entry*)));
        if (fresh == nullptr)
            return bucket_count_ != 0 ? Status{} : Status{Errno::nospc};
        kfree(buckets_);
        buckets_ = fresh;
        bucket_count_ = wanted;
        for (Entry& entry : order_)
            link(entry);
        return {};
    }

    Entry** buckets_{};
    std::size_t bucket_count_{};
    std::size_t count_{};
    std::uint64_t last_cookie_{2}; // 0, 1 and 2 are for "." and ".."
    Order order_;
};

class TmpInode;

class TmpFileOps final : public FileOps {
public:
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override {
        if (file.inode->is_directory())
            return Errno::isdir;
        return file.inode->page_cache()->read(buffer, offset);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override;
    Status read_directory(File& file, DirectorySink& sink) noexcept override;
    Status sync(File&, bool) noexcept override { return {}; }
    Status allocate(File& file, int how, std::uint64_t offset,
                    std::uint64_t size) noexcept override;
    Result<Mappable*> mappable(File& file) noexcept override {
        PageCache* cache = file.inode->page_cache();
        return cache == nullptr ? Result<Mappable*>{Errno::nodev} : Result<Mappable*>{cache};
    }
    [[nodiscard]] bool is_seekable(const File&) const noexcept override { return true; }
};

TmpFileOps file_operations;

class TmpSuperblock final : public Superblock {
public:
    static Result<Ref<Superblock>> make(const char* type) noexcept;
    Inode& root() noexcept override;
    FileSystemStatistics statistics() noexcept override;
    void shut_down() noexcept override;
    Result<Ref<Inode>> make_inode(std::uint32_t file_mode) noexcept;

private:
    ~TmpSuperblock() override = default;
    Ref<Inode> root_;
    std::uint64_t next_number_{1};
};

class TmpInode final : public Inode {
public:
    TmpInode(Superblock& sb, std::uint32_t file_mode) noexcept : Inode{sb}, cache_{*this, nullptr} {
        mode = file_mode;
        atime = mtime = ctime = wall_ns();
        if (is_directory())
            link_count = 2;
    }
    ~TmpInode() override { kfree(target_); }

    Result<Ref<Inode>> lookup(std::string_view name) noexcept override {
        Entry* entry = entries_.find(name);
        if (entry == nullptr)
            return Errno::noent;
        return entry->inode.clone();
    }
    Result<Ref<Inode>> create(std::string_view name, std::uint32_t file_mode,
                              DeviceNumber node) noexcept override {
        auto inode = TRY(tmp().make_inode(file_mode));
        inode->device = node;
        TRY(entries_.insert(name, inode.clone()));
        if (inode->is_directory())
            ++link_count;
        touch();
        return inode;
    }
    Result<Ref<Inode>> symlink(std::string_view name, std::string_view target) noexcept override {
        auto inode = TRY(tmp().make_inode(mode::symlink | 0777U));
        auto& link = static_cast<TmpInode&>(*inode);
        link.target_ = static_cast<char*>(kmalloc(target.size() + 1));
        if (link.target_ == nullptr)
            return Errno::nospc;
        std::memcpy(link.target_, target.data(), target.size());
        link.size = target.size();
        TRY(entries_.insert(name, inode.clone()));
        touch();
        return inode;
    }
    Status link(std::string_view name, Inode& inode) noexcept override {
        TRY(entries_.insert(name, Ref<Inode>::share(&inode)));
        ++inode.link_count;
        inode.ctime = wall_ns();
        touch();
        return {};
    }
    Status unlink(std::string_view name, Inode& inode) noexcept override {
        Entry* entry = entries_.find(name);
        if (entry == nullptr)
            return Errno::noent;
        --inode.link_count;
        inode.ctime = wall_ns();
        entries_.erase(*entry);
        touch();
        return {};
    }
    Status remove_directory(std::string_view name, Inode& inode) noexcept override {
        if (!static_cast<TmpInode&>(inode).entries_.empty())
            return Errno::notempty;
        Entry* entry = entries_.find(name);
        if (entry == nullptr)
            return Errno::noent;
        inode.link_count = 0;
        --link_count;
        entries_.erase(*entry);
        touch();
        return {};
    }
    Status rename(std::string_view name, Inode& moved, Inode& new_directory,
                  std::string_view new_name, Inode* replaced) noexcept override {
        auto& to = static_cast<TmpInode&>(new_directory);
        Entry* from = entries_.find(name);
        if (from == nullptr)
            return Errno::noent;
        if (replaced != nullptr) {
            Entry* entry = to.entries_.find(new_name);
            if (replaced->is_directory() && !static_cast<TmpInode*>(replaced)->entries_.empty())
                return Errno::notempty;
            entry->inode = Ref<Inode>::share(&moved);
            replaced->link_count -= replaced->is_directory() ? 2 : 1;
            if (replaced->is_directory())
                --to.link_count;
        } else {
            TRY(to.entries_.insert(new_name, Ref<Inode>::share(&moved)));
        }
        entries_.erase(*entries_.find(name));
        if (moved.is_directory()) {
            --link_count;
            ++to.link_count;
        }
        moved.ctime = wall_ns();
        touch();
        to.touch();
        return {};
    }
    Result<std::size_t> read_link(char* out, std::size_t room) noexcept override {
        if (!is_symlink())
            return Errno::inval;
        const std::size_t length = size < room ? size : room;
        std::memcpy(out, target_, length);
        return length;
    }
    Status change(const AttributeChange& change) noexcept override {
        if ((change.valid & AttributeChange::set_size) != 0) {
            if (change.size < size)
                cache_.truncate(change.size);
            size = change.size;
        }
        apply_attributes(*this, change);
        return {};
    }
    void refresh() noexcept override { blocks = cache_.page_count() * (page_size / 512); }
    FileOps& file_ops() noexcept override { return file_operations; }
    PageCache* page_cache() noexcept override { return is_regular() ? &cache_ : nullptr; }

    [[nodiscard]] EntryTable& entries() noexcept { return entries_; }

private:
    [[nodiscard]] TmpSuperblock& tmp() noexcept { return static_cast<TmpSuperblock&>(superblock); }
    void touch() noexcept { mtime = ctime = wall_ns(); }

    EntryTable entries_;
    PageCache cache_;
    char* target_{};
};

/// A file must not eat the memory that the kernel needs to go on.
bool memory_is_short() noexcept {
    const MemoryInfo info = memory_info();
    return info.free_pages + page_cache::total_pages() / 4 < info.total_pages / 16;
}

Result<std::size_t> TmpFileOps::write(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept {
    if (memory_is_short())
        return Errno::nospc;
    Inode& inode = *file.inode;
    MutexGuard guard{inode.lock};
    auto count = inode.page_cache()->write(buffer, offset);
    inode.mtime = inode.ctime = wall_ns();
    return !count && count.error() == Errno::nomem ? Result<std::size_t>{Errno::nospc}
                                                   : std::move(count);
}

Status TmpFileOps::allocate(File& file, int how, std::uint64_t offset,
                            std::uint64_t size) noexcept {
    constexpr int keep_size = 1;
    if ((how & ~keep_size) != 0)
        return Errno::opnotsupp;
    Inode& inode = *file.inode;
    MutexGuard guard{inode.lock};
    if ((how & keep_size) == 0 && offset + size > inode.size)
        inode.size = offset + size;
    return {};
}

std::uint8_t entry_type(const Inode& inode) noexcept {
    return static_cast<std::uint8_t>(inode.type() >> 12U);
}

Status TmpFileOps::read_directory(File& file, DirectorySink& sink) noexcept {
    auto& directory = static_cast<TmpInode&>(*file.inode);
    constexpr std::uint8_t directory_type = 4;
    MutexGuard guard{directory.lock};
    if (file.position == 0) {
        if (!sink.entry(".", 1, directory.number, directory_type, 1))
            return {};
        file.position = 1;
    }
    if (file.position == 1) {
        const Dentry* above = file.path.dentry ? file.path.dentry->parent() : nullptr;
        const std::uint64_t number = above != nullptr ? above->inode().number : directory.number;
        if (!sink.entry("..", 2, number, directory_type, 2))
            return {};
        file.position = 2;
    }
    for (Entry& entry : directory.entries().order()) {
        if (entry.cookie <= file.position)
            continue;
        if (!sink.entry(entry.name(), entry.length, entry.inode->number, entry_type(*entry.inode),
                        entry.cookie))
            return {};
        file.position = entry.cookie;
    }
    return {};
}

Result<Ref<Inode>> TmpSuperblock::make_inode(std::uint32_t file_mode) noexcept {
    auto* inode = new (std::nothrow) TmpInode{*this, file_mode};
    if (inode == nullptr)
        return Errno::nospc;
    inode->number = next_number_++;
    return Ref<Inode>::adopt(inode);
}

Result<Ref<Superblock>> TmpSuperblock::make(const char* type) noexcept {
    auto* sb = new (std::nothrow) TmpSuperblock;
    if (sb == nullptr)
        return Errno::nomem;
    auto owner = Ref<Superblock>::adopt(sb);
    sb->type_name = type;
    sb->root_ = TRY(sb->make_inode(mode::directory | 0755U));
    return owner;
}

Inode& TmpSuperblock::root() noexcept {
    return *root_;
}

FileSystemStatistics TmpSuperblock::statistics() noexcept {
    constexpr std::uint64_t magic = 0x01021994;
    const MemoryInfo info = memory_info();
    return {.type = magic,
            .blocks = info.total_pages,
            .blocks_free = info.free_pages,
            .blocks_available = info.free_pages};
}

namespace {
/// Empties a tree from the leaves up, so that destruction does not recurse over whole trees.
void empty_directory(TmpInode& directory) noexcept {
    while (Entry* entry = directory.entries().order().front()) {
        auto& child = static_cast<TmpInode&>(*entry->inode);
        if (child.is_directory())
            empty_directory(child);
        directory.entries().erase(*entry);
    }
}
} // namespace

void TmpSuperblock::shut_down() noexcept {
    empty_directory(static_cast<TmpInode&>(*root_));
    root_ = nullptr;
}

class TmpType final : public FileSystemType {
public:
    explicit constexpr TmpType(const char* type) noexcept : FileSystemType{type, false} {}
    Result<Ref<Superblock>> mount(const char*, std::uint32_t,
                                  const char* options) noexcept override {
        auto sb = TRY(TmpSuperblock::make(name));
        if (options != nullptr)
            apply_mode(sb->root(), options);
        return sb;
    }

private:
    /// "mode=1777" among the options.
    static void apply_mode(Inode& root, const char* options) noexcept {
        const std::string_view text{options};
        const std::size_t found = text.find("mode=");
        if (found == std::string_view::npos)
            return;
        std::uint32_t value = 0;
        for (const char* at = options + found + 5; *at >= '0' && *at <= '7'; ++at)
            value = value * 8 + static_cast<std::uint32_t>(*at - '0');
        root.mode = mode::directory | (value & 07777U);
    }
};

} // namespace

Result<Ref<Superblock>> make(const char* type_name) noexcept {
    return TmpSuperblock::make(type_name);
}

Result<Ref<Inode>> make_unnamed_file(std::uint32_t permissions) noexcept {
    static Superblock* shared;
    if (shared == nullptr)
        shared = TRY(TmpSuperblock::make("memfd"))
    .into_raw();
    auto inode = TRY(static_cast<TmpSuperblock*>(shared)->make_inode(mode::regular | permissions));
    inode->link_count = 0;
    return inode;
}

void initialize() noexcept {
    static TmpType tmp{"tmpfs"};
    static TmpType ram{"ramfs"};
    register_file_system(tmp);
    register_file_system(ram);
}

} // namespace kernel::tmpfs
