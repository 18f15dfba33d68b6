// SPDX-License-Identifier: BSD-2-Clause
// ext2: a mounted file system and its inodes. Metadata lives in the disk's page cache, file
// contents in one cache per inode.
#pragma once

#include "../block_node.hpp"
#include "../page_cache.hpp"
#include "layout.hpp"
#include <kernel/vfs.hpp>

namespace kernel::ext2 {

class Ext2;

/// A metadata block in the disk's cache, held while the object lives.
class Block {
public:
    Block() noexcept = default;
    Block(Page* page, std::size_t offset, std::size_t size, PageCache* cache) noexcept
        : page_{page}, cache_{cache}, offset_{offset}, size_{size} {}
    Block(Block&& other) noexcept
        : page_{std::exchange(other.page_, nullptr)}, cache_{other.cache_}, offset_{other.offset_},
          size_{other.size_} {}
    Block& operator=(Block&&) = delete;
    Block(const Block&) = delete;
    ~Block() {
        if (page_ != nullptr)
            page_->put();
    }
    [[nodiscard]] std::uint8_t* bytes() const noexcept {
        return static_cast<std::uint8_t*>(page_->data()) + offset_;
    }
    template <typename T>
    [[nodiscard]] T* as(std::size_t at = 0) const noexcept {
        return reinterpret_cast<T*>(bytes() + at);
    }
    void mark_dirty() const noexcept {
        cache_->mark_sectors_dirty(*page_, static_cast<unsigned>(offset_ / 512),
                                   static_cast<unsigned>(size_ / 512));
    }

private:
    Page* page_{};
    PageCache* cache_{};
    std::size_t offset_{};
    std::size_t size_{};
};

/// `map_lock_` guards the block map, Inode::lock everything else that belongs to one inode.
class Ext2Inode final : public Inode, private PageStore {
public:
    Ext2Inode(Ext2& fs, std::uint32_t inode_number, const DiskInode& from) noexcept;

    Result<Ref<Inode>> lookup(std::string_view name) noexcept override;
    Result<Ref<Inode>> create(std::string_view name, std::uint32_t file_mode,
                              DeviceNumber node) noexcept override;
    Result<Ref<Inode>> symlink(std::string_view name, std::string_view target) noexcept override;
    Status link(std::string_view name, Inode& inode) noexcept override;
    Status unlink(std::string_view name, Inode& inode) noexcept override;
    Status remove_directory(std::string_view name, Inode& inode) noexcept override;
    Status rename(std::string_view name, Inode& moved, Inode& new_directory,
                  std::string_view new_name, Inode* replaced) noexcept override;
    Result<std::size_t> read_link(char* out, std::size_t room) noexcept override;
    Status change(const AttributeChange& change) noexcept override;
    FileOps& file_ops() noexcept override;
    PageCache* page_cache() noexcept override { return is_regular() ? &cache_ : nullptr; }
    void mark_dirty() noexcept override { (void)store(); }
    Status sync(bool data_only) noexcept override;

    /// Directory contents.
    Status read_entries(File& file, DirectorySink& sink) noexcept;
    [[nodiscard]] Result<bool> is_empty_directory() noexcept;
    /// Frees blocks behind the end of file (a write that failed may leave some).
    void trim() noexcept;
    /// Writes the attributes into the inode table.
    Status store() noexcept;
    [[nodiscard]] Ext2& fs() noexcept;
    [[nodiscard]] std::uint32_t ino() const noexcept { return static_cast<std::uint32_t>(number); }

    Ext2Inode* hash_next{};
    bool freeing{};

private:
    friend class Ext2;
    void last_put() noexcept override;

    // Block map. A block number of 0 is a hole.
    struct Branch {
        unsigned depth;
        std::uint32_t index[4];
    };
    [[nodiscard]] Result<Branch> branch_of(std::uint64_t block) noexcept;
    Result<std::uint32_t> map(std::uint64_t block, bool allocate) noexcept;
    Result<std::uint32_t> allocate_block(bool zero) noexcept;
    Status free_blocks(std::uint64_t first_kept_out) noexcept;
    Status free_tree(std::uint32_t& slot, unsigned depth, std::uint64_t first, std::uint64_t keep,
                     bool& changed) noexcept;

    Status read_pages(Page** pages, std::size_t count) noexcept override;
    Status write_pages(Page** pages, std::size_t count) noexcept override;
    Status transfer_pages(Page** pages, std::size_t count, drivers::BlockOp op) noexcept;
    Status reserve(std::uint64_t offset, std::size_t size) noexcept override;

    // Directories.
    struct Position {
        Block block;
        std::size_t offset;
        std::size_t previous; ///< offset of the entry before it, or of itself if it is the first
    };
    Result<Block> directory_block(std::uint64_t index, bool allocate) noexcept;
    Result<Position> find_entry(std::string_view name) noexcept;
    Status add_entry(std::string_view name, const Inode& inode) noexcept;
    Status remove_entry(std::string_view name) noexcept;
    Status set_parent(std::uint32_t parent) noexcept;
    Status replace_entry(std::string_view name, const Inode& inode) noexcept;
    Result<Ref<Inode>> make_child(std::string_view name, std::uint32_t file_mode, DeviceNumber node,
                                  std::string_view target) noexcept;
    Status write_target(std::string_view target) noexcept;
    void set_device() noexcept;
    void touch() noexcept;

    std::uint32_t flags_;
    std::uint32_t generation_;
    std::uint32_t file_acl_;
    std::uint32_t pointer_[block_pointers];
    std::uint32_t last_allocated_{};
    Mutex map_lock_;
    PageCache cache_;
};

/// A mounted file system. `allocation_lock_` guards bitmaps and counts, `inodes_lock_` the inode
/// hash.
class Ext2 final : public Superblock {
public:
    static Result<Ref<Superblock>> mount(block_node::Opened disk, bool read_only) noexcept;

    Inode& root() noexcept override { return *root_; }
    FileSystemStatistics statistics() noexcept override;
    Status sync() noexcept override;
    Status remount(std::uint32_t flags) noexcept override;
    [[nodiscard]] bool is_busy() noexcept override;
    void shut_down() noexcept override;

    [[nodiscard]] std::uint32_t block_size() const noexcept { return block_size_; }
    [[nodiscard]] std::uint32_t inode_size() const noexcept { return inode_size_; }
    [[nodiscard]] bool has_file_types() const noexcept;
    Result<Block> block(std::uint32_t number) noexcept;
    /// A block whose old contents do not matter; cleared.
    Result<Block> fresh_block(std::uint32_t number) noexcept;
    Result<Ref<Inode>> inode(std::uint32_t number) noexcept;
    /// The inode's place in the inode table; `offset` within the block.
    Result<Block> inode_block(std::uint32_t number, std::size_t& offset) noexcept;
    Result<std::uint32_t> allocate_block(std::uint32_t goal) noexcept;
    void free_block(std::uint32_t number, bool is_metadata) noexcept;
    Result<std::uint32_t> allocate_inode(std::uint32_t parent, bool directory) noexcept;
    void free_inode(std::uint32_t number, bool directory) noexcept;
    void forget(Ext2Inode& inode) noexcept;
    Result<Ref<Inode>> adopt_new(std::uint32_t number, const DiskInode& from) noexcept;
    void note_large_file() noexcept;
    /// Call before the first change after a sync.
    void note_modified() noexcept;
    [[nodiscard]] drivers::BlockDevice& disk() noexcept { return *disk_.handle; }
    [[nodiscard]] PageCache& metadata() noexcept { return disk_.cache(); }
    [[nodiscard]] bool is_valid_block(std::uint32_t number) const noexcept {
        return number >= first_data_block_ && number < blocks_count_;
    }
    [[nodiscard]] std::uint64_t sectors_per_block() const noexcept { return block_size_ / 512; }
    /// A broken structure was met: says so once and goes read-only.
    Errno corrupted(const char* what, std::uint64_t where) noexcept;

private:
    explicit Ext2(block_node::Opened disk) noexcept : disk_{std::move(disk)} {}
    ~Ext2() override = default;
    Status load(bool want_read_only) noexcept;
    Result<Block> super(DiskSuperblock*& out) noexcept;
    Result<Block> group(std::uint32_t index, GroupDescriptor*& out) noexcept;
    Result<std::uint32_t> take_bit(std::uint32_t bitmap, std::uint32_t from,
                                   std::uint32_t limit) noexcept;
    void count(std::int32_t blocks, std::int32_t inodes) noexcept;
    Status set_state(bool valid) noexcept;
    Ext2Inode*& bucket(std::uint32_t number) noexcept { return inodes_[number % bucket_count]; }

    static constexpr std::size_t bucket_count = 256;
    block_node::Opened disk_;
    Ref<Inode> root_;
    std::uint32_t block_size_{};
    std::uint32_t blocks_count_{};
    std::uint32_t inodes_count_{};
    std::uint32_t first_data_block_{};
    std::uint32_t blocks_per_group_{};
    std::uint32_t inodes_per_group_{};
    std::uint32_t group_count_{};
    std::uint32_t inode_size_{};
    std::uint32_t first_inode_{};
    std::uint32_t incompatible_{};
    bool was_valid_{};
    bool modified_{};
    bool complained_{};
    Mutex allocation_lock_;
    Spinlock inodes_lock_;
    WaitQueue inode_freed_;
    Ext2Inode* inodes_[bucket_count]{};
};

void initialize() noexcept;

} // namespace kernel::ext2
