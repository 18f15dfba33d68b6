// SPDX-License-Identifier: BSD-2-Clause
// Open files: IoBuffer (where data goes), FileOps (behaviour), File (one open), FdTable (a process'
// numbers).
#pragma once

#include <kernel/poll.hpp>
#include <kernel/ref.hpp>
#include <kernel/sync.hpp>
#include <kernel/types.hpp>

#include <cstddef>
#include <cstdint>

namespace kernel {

class Inode;
class Dentry;
class Mount;
class Mappable;

/// Flags of open(2); the values are the ABI's.
namespace open_flag {
inline constexpr std::uint32_t access_mask = 3;
inline constexpr std::uint32_t rdonly = 0;
inline constexpr std::uint32_t wronly = 1;
inline constexpr std::uint32_t rdwr = 2;
inline constexpr std::uint32_t creat = 0x40;
inline constexpr std::uint32_t excl = 0x80;
inline constexpr std::uint32_t noctty = 0x100;
inline constexpr std::uint32_t trunc = 0x200;
inline constexpr std::uint32_t append = 0x400;
inline constexpr std::uint32_t nonblock = 0x800;
inline constexpr std::uint32_t dsync = 0x1000;
inline constexpr std::uint32_t async = 0x2000;
inline constexpr std::uint32_t direct = 0x4000;
inline constexpr std::uint32_t largefile = 0x8000;
inline constexpr std::uint32_t directory = 0x10000;
inline constexpr std::uint32_t nofollow = 0x20000;
inline constexpr std::uint32_t noatime = 0x40000;
inline constexpr std::uint32_t cloexec = 0x80000;
inline constexpr std::uint32_t sync = 0x101000;
inline constexpr std::uint32_t path = 0x200000;
inline constexpr std::uint32_t tmpfile = 0x400000;
} // namespace open_flag

/// iovec of the system-call ABI.
struct IoSegment {
    std::uint64_t base;
    std::uint64_t length;
};

/// Destination or source of a transfer: a run of segments in user or kernel memory with a cursor.
/// It does not own the segments.
class IoBuffer {
public:
    static IoBuffer kernel(void* data, std::size_t size) noexcept {
        return IoBuffer{{reinterpret_cast<std::uint64_t>(data), size}, false};
    }
    static IoBuffer kernel(const void* data, std::size_t size) noexcept {
        return IoBuffer{{reinterpret_cast<std::uint64_t>(data), size}, false};
    }
    static IoBuffer user(std::uint64_t address, std::size_t size) noexcept {
        return IoBuffer{{address, size}, true};
    }
    /// `segments` lie in kernel memory and describe user memory; they outlive the buffer.
    static IoBuffer user(const IoSegment* segments, std::size_t count) noexcept;

    IoBuffer(IoBuffer&&) noexcept;
    IoBuffer(const IoBuffer&) = delete;
    IoBuffer& operator=(const IoBuffer&) = delete;

    [[nodiscard]] std::size_t remaining() const noexcept { return remaining_; }
    [[nodiscard]] std::size_t done() const noexcept { return done_; }
    [[nodiscard]] bool is_user() const noexcept { return is_user_; }
    /// Start and length of the contiguous run at the cursor.
    [[nodiscard]] IoSegment run() const noexcept;
    /// Limits what remains to at most `size` bytes.
    void truncate(std::size_t size) noexcept;
    void advance(std::size_t size) noexcept;

    /// Copies min(size, remaining()) bytes into the buffer; yields the count. A fault after the
    /// first byte ends the copy early; on the first byte it is Errno::fault.
    Result<std::size_t> put(const void* source, std::size_t size) noexcept;
    /// Copies min(size, remaining()) bytes out of the buffer.
    Result<std::size_t> get(void* destination, std::size_t size) noexcept;
    Result<std::size_t> put_zeros(std::size_t size) noexcept;

private:
    IoBuffer(IoSegment single, bool is_user) noexcept;
    /// put() and get() by copy(address of a run, bytes moved before, bytes) -> false on a fault.
    template <typename Copy>
    Result<std::size_t> transfer(std::size_t size, Copy copy) noexcept;
    IoSegment single_{};
    const IoSegment* segments_{};
    std::size_t count_{};
    std::size_t offset_{}; ///< within segments_[0]
    std::size_t remaining_{};
    std::size_t done_{};
    bool is_user_{};
};

class File;

/// Receives directory entries. Returns false when it is full; the entry is then offered again.
class DirectorySink {
public:
    virtual bool entry(const char* name, std::size_t length, std::uint64_t inode, std::uint8_t type,
                       std::uint64_t next_position) noexcept = 0;

protected:
    ~DirectorySink() = default;
};

/// Behaviour of an open file. Objects of this type hold no state per open file: that is File::data.
/// `offset` is the position to use; for streams it is ignored. Blocking calls honour O_NONBLOCK in
/// File::flags and return Errno::restart (or intr) when a signal arrives first.
class FileOps {
public:
    virtual Status open(File&) noexcept { return {}; }
    /// The last reference is gone.
    virtual void release(File&) noexcept {}
    /// A descriptor of the file is closed (locks, flush errors).
    virtual Status flush(File&) noexcept { return {}; }
    virtual Result<std::size_t> read(File&, IoBuffer&, std::uint64_t /*offset*/) noexcept {
        return Errno::inval;
    }
    virtual Result<std::size_t> write(File&, IoBuffer&, std::uint64_t /*offset*/) noexcept {
        return Errno::inval;
    }
    virtual Result<std::uint64_t> seek(File&, std::int64_t offset, int whence) noexcept;
    virtual Result<std::int64_t> ioctl(File&, std::uint32_t /*command*/,
                                       std::uint64_t /*argument*/) noexcept {
        return Errno::notty;
    }
    virtual std::uint32_t poll(File&, PollTable*) noexcept {
        return poll_event::readable | poll_event::writable;
    }
    /// Adds entries from File::position on. Only for directories.
    virtual Status read_directory(File&, DirectorySink&) noexcept { return Errno::notdir; }
    virtual Status sync(File&, bool /*data_only*/) noexcept { return Errno::inval; }
    virtual Status allocate(File&, int /*mode*/, std::uint64_t, std::uint64_t) noexcept {
        return Errno::opnotsupp;
    }
    /// What mmap of the file maps (see kernel/mapping.hpp): the page cache of a file, or a device's
    /// own.
    virtual Result<Mappable*> mappable(File&) noexcept { return Errno::nodev; }
    /// True when read and write use and move File::position.
    [[nodiscard]] virtual bool is_seekable(const File&) const noexcept { return false; }
    /// What fstat reports as mode of a file without an inode.
    [[nodiscard]] virtual std::uint32_t anonymous_mode() const noexcept { return 0600; }

protected:
    ~FileOps() = default;
};

/// A place in the mount tree. Both pointers are owned references.
struct Path {
    Ref<Mount> mount;
    Ref<Dentry> dentry;

    Path() noexcept;
    Path(Ref<Mount> m, Ref<Dentry> d) noexcept;
    Path(Path&&) noexcept;
    Path& operator=(Path&&) noexcept;
    ~Path();
    [[nodiscard]] Path clone() const noexcept;
    [[nodiscard]] Inode* inode() const noexcept;
    explicit operator bool() const noexcept;
};

/// One open file, shared by the descriptors that dup and fork made of it.
class File final : public RefCounted {
public:
    /// Takes over the references. Does not call ops.open().
    static Result<Ref<File>> create(FileOps& ops, Path path, Ref<Inode> inode,
                                    std::uint32_t flags) noexcept;
    /// A file without a name (pipe, socket, eventfd ...); `label` shows in /proc/<pid>/fd.
    static Result<Ref<File>> create_anonymous(FileOps& ops, const char* label, void* data,
                                              std::uint32_t flags) noexcept;

    [[nodiscard]] bool can_read() const noexcept {
        return (flags & 3) != open_flag::wronly && !is_path();
    }
    [[nodiscard]] bool can_write() const noexcept {
        return (flags & 3) != open_flag::rdonly && !is_path();
    }
    [[nodiscard]] bool is_nonblocking() const noexcept {
        return (flags & open_flag::nonblock) != 0;
    }
    [[nodiscard]] bool is_path() const noexcept { return (flags & open_flag::path) != 0; }

    /// Convenience for kernel callers: position, permission and O_APPEND handled as by
    /// read(2)/write(2).
    Result<std::size_t> read(IoBuffer& buffer) noexcept;
    Result<std::size_t> write(IoBuffer& buffer) noexcept;
    /// Whole or partial read at `offset` into kernel memory (exec, loaders).
    Result<std::size_t> read_at(void* data, std::size_t size, std::uint64_t offset) noexcept;

    FileOps* ops;
    Path path;
    Ref<Inode> inode;
    std::uint32_t flags;
    std::uint64_t position{};
    Mutex position_lock;
    void* data{};        ///< of the ops
    const char* label{}; ///< for files without a name
    int async_owner{};   ///< F_SETOWN
    void* epoll_items{}; ///< interests of epoll files in this one

private:
    File(FileOps& operations, Path place, Ref<Inode> node, std::uint32_t open_flags) noexcept;
    ~File() override;
};

/// The descriptors of a process. Shared by its threads.
class FdTable final : public RefCounted {
public:
    static Result<Ref<FdTable>> create() noexcept;
    /// Copy for fork.
    [[nodiscard]] Result<Ref<FdTable>> duplicate() noexcept;

    /// Lowest free number that is at least `minimum`.
    Result<int> install(Ref<File> file, bool close_on_exec, int minimum = 0) noexcept;
    /// Both or none; their numbers go to the user address `out` (pipe, socketpair).
    Status install_pair(Ref<File> first, Ref<File> second, bool close_on_exec,
                        std::uint64_t out) noexcept;
    /// dup2: `fd` becomes `file`; what it was is closed.
    Status install_at(int fd, Ref<File> file, bool close_on_exec) noexcept;
    [[nodiscard]] Result<Ref<File>> lookup(int fd) noexcept;
    Status close(int fd) noexcept;
    void close_range(unsigned first, unsigned last) noexcept;
    void close_on_exec() noexcept;
    void close_all() noexcept;
    Result<bool> get_close_on_exec(int fd) noexcept;
    Status set_close_on_exec(int fd, bool on) noexcept;
    [[nodiscard]] int capacity() const noexcept { return capacity_; }
    /// RLIMIT_NOFILE (soft).
    int limit{1024};

private:
    struct Slot {
        File* file;
        bool close_on_exec;
    };
    FdTable() noexcept = default;
    ~FdTable() override;
    Status grow(int minimum) noexcept;

    Spinlock lock_;
    Slot* slots_{};
    int capacity_{};
};

} // namespace kernel
