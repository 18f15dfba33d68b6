// SPDX-License-Identifier: BSD-2-Clause
// The virtual file system: Inode, Dentry, Superblock, Mount, path walk, and a process' view of
// them.
#pragma once

#include <kernel/file.hpp>
#include <kernel/ref.hpp>
#include <kernel/sync.hpp>

#include <cero/lib/intrusive_list.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kernel {

class PageCache;
class Superblock;
struct BlockNode;

namespace mode {
inline constexpr std::uint32_t type_mask = 0170000;
inline constexpr std::uint32_t socket = 0140000;
inline constexpr std::uint32_t symlink = 0120000;
inline constexpr std::uint32_t regular = 0100000;
inline constexpr std::uint32_t block = 0060000;
inline constexpr std::uint32_t directory = 0040000;
inline constexpr std::uint32_t character = 0020000;
inline constexpr std::uint32_t fifo = 0010000;
inline constexpr std::uint32_t set_uid = 04000;
inline constexpr std::uint32_t set_gid = 02000;
inline constexpr std::uint32_t sticky = 01000;
} // namespace mode

/// Device numbers in Linux's user-visible encoding (makedev).
using DeviceNumber = std::uint64_t;
constexpr DeviceNumber make_device(std::uint32_t major, std::uint32_t minor) noexcept {
    return (minor & 0xffU) | ((major & 0xfffU) << 8U) |
           (static_cast<std::uint64_t>(minor & ~0xffU) << 12U) |
           (static_cast<std::uint64_t>(major & ~0xfffU) << 32U);
}
constexpr std::uint32_t device_major(DeviceNumber d) noexcept {
    return static_cast<std::uint32_t>(((d >> 8U) & 0xfffU) | ((d >> 32U) & ~0xfffULL));
}
constexpr std::uint32_t device_minor(DeviceNumber d) noexcept {
    return static_cast<std::uint32_t>((d & 0xffU) | ((d >> 12U) & ~0xffULL));
}

/// Nanoseconds since 1970.
using FileTime = std::uint64_t;

/// Change of attributes; only those named in `valid` are set.
struct AttributeChange {
    enum : std::uint32_t {
        set_mode = 1,
        set_uid = 2,
        set_gid = 4,
        set_size = 8,
        set_atime = 16,
        set_mtime = 32
    };
    std::uint32_t valid{};
    std::uint32_t mode{};
    std::uint32_t uid{};
    std::uint32_t gid{};
    std::uint64_t size{};
    FileTime atime{};
    FileTime mtime{};
};

/// statfs(2) in kernel form.
struct FileSystemStatistics {
    std::uint64_t type{};
    std::uint64_t block_size{4096};
    std::uint64_t blocks{};
    std::uint64_t blocks_free{};
    std::uint64_t blocks_available{};
    std::uint64_t files{};
    std::uint64_t files_free{};
    std::uint64_t name_length{255};
};

/// A file as the file system sees it. `lock` guards the directory contents, the size and the block
/// map; directory operations are called with the lock of the directory (both, in rename) held.
class Inode : public RefCounted {
public:
    Superblock& superblock;
    std::uint64_t number{};
    std::uint32_t mode{};
    std::uint32_t uid{};
    std::uint32_t gid{};
    std::uint32_t link_count{1};
    std::uint64_t size{};
    std::uint64_t blocks{}; ///< of 512 bytes
    DeviceNumber device{};  ///< of a device node
    FileTime atime{};
    FileTime mtime{};
    FileTime ctime{};
    Mutex lock;
    void* fifo{};           ///< pipe behind an open FIFO
    void* bound_socket{};   ///< listening AF_UNIX socket
    void* advisory_locks{}; ///< POSIX and flock records

    [[nodiscard]] std::uint32_t type() const noexcept { return mode & mode::type_mask; }
    [[nodiscard]] bool is_directory() const noexcept { return type() == mode::directory; }
    [[nodiscard]] bool is_regular() const noexcept { return type() == mode::regular; }
    [[nodiscard]] bool is_symlink() const noexcept { return type() == mode::symlink; }

    virtual Result<Ref<Inode>> lookup(std::string_view) noexcept { return Errno::notdir; }
    virtual Result<Ref<Inode>> create(std::string_view, std::uint32_t /*mode*/,
                                      DeviceNumber) noexcept {
        return Errno::perm;
    }
    virtual Result<Ref<Inode>> symlink(std::string_view, std::string_view /*target*/) noexcept {
        return Errno::perm;
    }
    virtual Status link(std::string_view, Inode&) noexcept { return Errno::perm; }
    /// Removes an entry; for a directory entry the VFS has checked nothing but the type.
    virtual Status unlink(std::string_view, Inode&) noexcept { return Errno::perm; }
    virtual Status remove_directory(std::string_view, Inode&) noexcept { return Errno::perm; }
    /// Moves `name` (inode `moved`) to `new_name` in `new_directory`, replacing `replaced` if not
    /// null.
    virtual Status rename(std::string_view, Inode& /*moved*/, Inode& /*new_directory*/,
                          std::string_view, Inode* /*replaced*/) noexcept {
        return Errno::perm;
    }
    virtual Result<std::size_t> read_link(char* /*out*/, std::size_t) noexcept {
        return Errno::inval;
    }
    /// A link that names a place directly (/proc/self/fd/3). Errno::inval: use read_link().
    virtual Result<Path> follow_magic() noexcept { return Errno::inval; }
    virtual Status change(const AttributeChange&) noexcept;
    /// Refreshes attributes that are computed (procfs). Called before stat.
    virtual void refresh() noexcept {}
    /// Behaviour of an open of this inode.
    virtual FileOps& file_ops() noexcept = 0;
    /// The cache of a page-backed file, else null.
    virtual PageCache* page_cache() noexcept { return nullptr; }
    /// False when a name may vanish or change its meaning behind the name cache's back (procfs).
    [[nodiscard]] virtual bool names_are_stable() const noexcept { return true; }
    /// Marks the attributes as changed on the medium.
    virtual void mark_dirty() noexcept {}
    virtual Status sync(bool /*data_only*/) noexcept { return {}; }

protected:
    explicit Inode(Superblock& sb) noexcept : superblock{sb} {}
};

/// A mounted file system instance.
class Superblock : public RefCounted {
public:
    virtual Inode& root() noexcept = 0;
    virtual FileSystemStatistics statistics() noexcept = 0;
    virtual Status sync() noexcept { return {}; }
    virtual Status remount(std::uint32_t /*flags*/) noexcept { return {}; }
    /// Open or mapped files remain although no name of theirs is in use.
    [[nodiscard]] virtual bool is_busy() noexcept { return false; }
    /// Last mount is gone: write everything out. Afterwards only put() follows.
    virtual void shut_down() noexcept {}
    [[nodiscard]] bool is_read_only() const noexcept { return read_only; }

    const char* type_name{};
    DeviceNumber device{}; ///< st_dev
    bool read_only{};
    Ref<Dentry> root_dentry; ///< made by the first mount; given up before shut_down()

protected:
    Superblock() noexcept;
    ~Superblock() override;
};

/// What mount(2) finds by name.
class FileSystemType {
public:
    virtual Result<Ref<Superblock>> mount(const char* source, std::uint32_t flags,
                                          const char* options) noexcept = 0;
    const char* name{};
    bool needs_device{};
    FileSystemType* next{};

protected:
    constexpr FileSystemType(const char* type, bool device) noexcept
        : name{type}, needs_device{device} {}
    ~FileSystemType() = default;
};
void register_file_system(FileSystemType& type) noexcept;
FileSystemType* find_file_system(std::string_view name) noexcept;
FileSystemType* first_file_system() noexcept;

/// A name in the name cache. Positive entries only; the parent is referenced.
class Dentry final : public RefCounted {
public:
    [[nodiscard]] std::string_view name() const noexcept { return {name_, name_length_}; }
    [[nodiscard]] Dentry* parent() const noexcept { return parent_.get(); }
    [[nodiscard]] Inode& inode() const noexcept { return *inode_; }
    [[nodiscard]] bool is_deleted() const noexcept { return !hashed_; }

private:
    friend class DentryCache;
    Dentry() noexcept = default;
    ~Dentry() override;
    void last_put() noexcept override;

    Ref<Dentry> parent_;
    Ref<Inode> inode_;
    char* name_{};
    std::uint16_t name_length_{};
    bool hashed_{};
    bool is_root_{};
    std::uint32_t mounts_{}; ///< number of mounts on top
    Dentry* hash_next_{};
    cero::ListLink unused_link_;

public:
    void add_mount() noexcept { ++mounts_; }
    void remove_mount() noexcept { --mounts_; }
    [[nodiscard]] bool is_mount_point() const noexcept { return mounts_ != 0; }
};

/// One attachment of a file system in the tree.
class Mount final : public RefCounted {
public:
    static Result<Ref<Mount>> create(Ref<Superblock> sb, const char* source,
                                     std::uint32_t flags) noexcept;

    Ref<Superblock> superblock;
    Ref<Dentry> root;
    Ref<Mount> parent;       ///< null for the root mount
    Ref<Dentry> mount_point; ///< in `parent`
    std::uint32_t flags{};
    std::uint32_t id{};
    char source[64]{};
    cero::ListLink all_link;
    bool attached{};

private:
    Mount() noexcept = default;
    ~Mount() override = default;
};

/// Who acts. Owned by the process; pvk-core supplies current_credentials().
struct Credentials {
    static constexpr std::size_t max_groups = 32;
    std::uint32_t uid{};
    std::uint32_t gid{};
    std::uint32_t euid{};
    std::uint32_t egid{};
    std::uint32_t suid{};
    std::uint32_t sgid{};
    std::uint32_t groups[max_groups]{};
    std::uint32_t group_count{};
    [[nodiscard]] bool in_group(std::uint32_t group) const noexcept;
};

/// A process' root, working directory and umask. Shared by its threads.
class FsContext final : public RefCounted {
public:
    static Result<Ref<FsContext>> create(Path root, Path cwd) noexcept;
    [[nodiscard]] Result<Ref<FsContext>> duplicate() noexcept;
    Path root;
    Path cwd;
    std::uint32_t umask{022};

private:
    FsContext() noexcept = default;
    ~FsContext() override = default;
};

/// Supplied by the process layer.
FsContext& current_fs() noexcept;
FdTable& current_files() noexcept;
const Credentials& current_credentials() noexcept;

/// Path walk. `at` null means the working directory.
struct LookupFlags {
    bool follow_last{true};
    bool want_directory{};
    bool automatic_mount{true};
};
namespace vfs {

/// What kernel start-up calls: mounts a tmpfs as root. `root_context()` is init's first FsContext.
Status mount_root() noexcept;
Result<Ref<FsContext>> root_context() noexcept;
/// Unpacks a newc archive (not compressed, or with several archives concatenated) into "/".
Status unpack_initramfs(const void* data, std::size_t size) noexcept;

Result<Path> lookup(std::string_view path, const Path* at = nullptr,
                    LookupFlags flags = {}) noexcept;
Result<Ref<File>> open(std::string_view path, std::uint32_t flags, std::uint32_t mode = 0,
                       const Path* at = nullptr) noexcept;
/// Opens for exec: regular, executable by the caller.
Result<Ref<File>> open_executable(std::string_view path, const Path* at = nullptr) noexcept;
Status make_directory(std::string_view path, std::uint32_t mode, const Path* at = nullptr) noexcept;
Status make_node(std::string_view path, std::uint32_t mode, DeviceNumber device,
                 const Path* at = nullptr) noexcept;
Status make_symlink(std::string_view target, std::string_view path,
                    const Path* at = nullptr) noexcept;
Status mount(const char* source, std::string_view target, const char* type, std::uint32_t flags,
             const char* options) noexcept;
Status unmount(std::string_view target, std::uint32_t flags) noexcept;
Status sync_all() noexcept;

/// Writes the absolute name of `path` as seen from the current root; yields the length without NUL.
Result<std::size_t> name_of(const Path& path, char* out, std::size_t size) noexcept;

/// Read 4, write 2, execute 1.
Status check_access(Inode& inode, std::uint32_t wanted) noexcept;

} // namespace vfs
} // namespace kernel
