// SPDX-License-Identifier: BSD-2-Clause
// System calls on descriptors: close, dup, fcntl, flock, pipe, memfd, getdents.
#include "file_locks.hpp"
#include "pipe.hpp"
#include "syscall_support.hpp"
#include "tmpfs.hpp"
#include <kernel/process_api.hpp>

#include <cstring>

namespace kernel {

namespace {

Status sys_close(int fd) noexcept {
    return current_files().close(fd);
}

Status sys_close_range(unsigned first, unsigned last, unsigned flags) noexcept {
    constexpr unsigned cloexec = 4;
    if (first > last || (flags & ~cloexec) != 0)
        return Errno::inval;
    if ((flags & cloexec) == 0) {
        current_files().close_range(first, last);
        return {};
    }
    for (unsigned fd = first; fd <= last && fd < static_cast<unsigned>(current_files().capacity());
         ++fd)
        (void)current_files().set_close_on_exec(static_cast<int>(fd), true);
    return {};
}

Result<int> sys_dup(int fd) noexcept {
    return current_files().install(TRY(file_of(fd)), false);
}

Result<int> duplicate_to(int from, int to, bool close_on_exec) noexcept {
    auto file = TRY(file_of(from));
    TRY(current_files().install_at(to, std::move(file), close_on_exec));
    return to;
}
Result<int> sys_dup2(int from, int to) noexcept {
    if (from == to) {
        TRY(file_of(from));
        return to;
    }
    return duplicate_to(from, to, false);
}
Result<int> sys_dup3(int from, int to, std::uint32_t flags) noexcept {
    if (from == to || (flags & ~open_flag::cloexec) != 0)
        return Errno::inval;
    return duplicate_to(from, to, (flags & open_flag::cloexec) != 0);
}

Status make_pipe(UserAddress out, std::uint32_t flags) noexcept {
    if ((flags & ~(open_flag::cloexec | open_flag::nonblock | open_flag::direct)) != 0)
        return Errno::inval;
    const bool cloexec = (flags & open_flag::cloexec) != 0;
    auto ends = TRY(pipe::create(flags & open_flag::nonblock));
    return current_files().install_pair(std::move(ends.reader), std::move(ends.writer), cloexec,
                                        out);
}
Status sys_pipe(UserAddress out) noexcept {
    return make_pipe(out, 0);
}
Status sys_pipe2(UserAddress out, std::uint32_t flags) noexcept {
    return make_pipe(out, flags);
}

struct UserFlock {
    std::int16_t type;
    std::int16_t whence;
    std::int64_t start;
    std::int64_t length;
    std::int32_t pid;
};

Result<file_locks::Record> decode_lock(File& file, const UserFlock& from) noexcept {
    if (!file.inode)
        return Errno::badf;
    std::int64_t start = from.start;
    if (from.whence == 1)
        start += static_cast<std::int64_t>(file.position);
    else if (from.whence == 2)
        start += static_cast<std::int64_t>(file.inode->size);
    std::int64_t length = from.length;
    if (length < 0) {
        start += length;
        length = -length;
    }
    if (start < 0 || from.type < 0 || from.type > 2)
        return Errno::inval;
    const auto first = static_cast<std::uint64_t>(start);
    return file_locks::Record{
        first, length == 0 ? ~std::uint64_t{0} : first + static_cast<std::uint64_t>(length) - 1,
        static_cast<file_locks::Kind>(from.type), current_job().pid};
}

Status set_lock(File& file, UserAddress argument, const void* owner, bool wait) noexcept {
    const auto request = TRY(read_user<UserFlock>(argument));
    return file_locks::set(*file.inode, owner, TRY(decode_lock(file, request)), wait);
}

Status get_lock(File& file, UserAddress argument, const void* owner) noexcept {
    auto request = TRY(read_user<UserFlock>(argument));
    const auto found =
        file_locks::find_conflict(*file.inode, owner, TRY(decode_lock(file, request)));
    request.type = static_cast<std::int16_t>(found.kind);
    if (found.kind != file_locks::Kind::none) {
        request.whence = 0;
        request.start = static_cast<std::int64_t>(found.start);
        request.length = found.end == ~std::uint64_t{0}
                             ? 0
                             : static_cast<std::int64_t>(found.end - found.start + 1);
        request.pid = found.pid;
    }
    return write_user(argument, request);
}

Result<std::int64_t> sys_fcntl(int fd, int command, std::uint64_t argument) noexcept {
    enum : int {
        dupfd,
        getfd,
        setfd,
        getfl,
        setfl,
        getlk,
        setlk,
        setlkw,
        setown,
        getown,
        setsig,
        getsig,
        ofd_getlk = 36,
        ofd_setlk,
        ofd_setlkw,
        dupfd_cloexec = 1030,
        setpipe_sz = 1031,
        getpipe_sz = 1032,
        add_seals = 1033,
        get_seals = 1034,
    };
    auto file = TRY(file_of(fd));
    FdTable& table = current_files();
    switch (command) {
    case dupfd:
    case dupfd_cloexec:
        return TRY(
            table.install(std::move(file), command == dupfd_cloexec, static_cast<int>(argument)));
    case getfd:
        return TRY(table.get_close_on_exec(fd))
        ? 1 : 0;
    case setfd:
        TRY(table.set_close_on_exec(fd, (argument & 1) != 0));
        return 0;
    case getfl:
        return file->flags & ~open_flag::cloexec;
    case setfl: {
        constexpr std::uint32_t settable = open_flag::append | open_flag::nonblock |
                                           open_flag::async | open_flag::direct |
                                           open_flag::noatime;
        file->flags = (file->flags & ~settable) | (static_cast<std::uint32_t>(argument) & settable);
        return 0;
    }
    case getlk:
    case ofd_getlk:
    case setlk:
    case setlkw:
    case ofd_setlk:
    case ofd_setlkw: {
        if (!file->inode)
            return Errno::badf;
        const bool by_file = command >= ofd_getlk;
        const void* owner = by_file ? static_cast<const void*>(file.get()) : &table;
        if (command == getlk || command == ofd_getlk)
            TRY(get_lock(*file, argument, owner));
        else
            TRY(set_lock(*file, argument, owner, command == setlkw || command == ofd_setlkw));
        return 0;
    }
    case setown:
        file->async_owner = static_cast<int>(argument);
        return 0;
    case getown:
        return file->async_owner;
    case setsig:
    case getsig:
    case add_seals:
    case get_seals:
        return 0;
    case setpipe_sz:
    case getpipe_sz:
        return 65536;
    default:
        return Errno::inval;
    }
}

Status sys_flock(int fd, int operation) noexcept {
    enum : int { shared = 1, exclusive = 2, nonblocking = 4, unlock = 8 };
    auto file = TRY(io_file_of(fd));
    if (!file->inode)
        return Errno::badf;
    file_locks::Record record{0, ~std::uint64_t{0}, file_locks::Kind::none, current_job().pid};
    switch (operation & ~nonblocking) {
    case shared:
        record.kind = file_locks::Kind::read;
        break;
    case exclusive:
        record.kind = file_locks::Kind::write;
        break;
    case unlock:
        break;
    default:
        return Errno::inval;
    }
    return file_locks::set(*file->inode, file.get(), record, (operation & nonblocking) == 0);
}

Result<int> sys_memfd_create(UserAddress, std::uint32_t flags) noexcept {
    constexpr std::uint32_t memfd_cloexec = 1;
    auto inode = TRY(tmpfs::make_unnamed_file(0777));
    FileOps& ops = inode->file_ops();
    auto file = TRY(File::create(ops, Path{}, std::move(inode), open_flag::rdwr));
    file->label = "memfd";
    return current_files().install(std::move(file), (flags & memfd_cloexec) != 0);
}

/// Packs directory entries as getdents64 or getdents want them.
class UserDirectorySink final : public DirectorySink {
public:
    UserDirectorySink(UserAddress out, std::size_t size, bool wide) noexcept
        : out_{out}, room_{size}, wide_{wide} {}

    bool entry(const char* name, std::size_t length, std::uint64_t inode, std::uint8_t type,
               std::uint64_t next_position) noexcept override {
        constexpr std::size_t fixed = 18;       // inode, offset, length
        const std::size_t tail = wide_ ? 1 : 2; // type before or after the name; NUL
        const std::size_t size =
            (fixed + length + 1 + tail - (wide_ ? 0 : 1) + 7) & ~std::size_t{7};
        if (size > room_) {
            full_ = true;
            return false;
        }
        char record[288] = {};
        const auto record_size = static_cast<std::uint16_t>(size);
        std::memcpy(record, &inode, 8);
        std::memcpy(record + 8, &next_position, 8);
        std::memcpy(record + 16, &record_size, 2);
        if (wide_) {
            record[18] = static_cast<char>(type);
            std::memcpy(record + 19, name, length);
        } else {
            std::memcpy(record + 18, name, length);
            record[size - 1] = static_cast<char>(type);
        }
        if (!copy_to_user(out_, record, size)) {
            fault_ = true;
            return false;
        }
        out_ += size;
        room_ -= size;
        done_ += size;
        return true;
    }
    [[nodiscard]] Result<std::size_t> result() const noexcept {
        if (done_ == 0 && fault_)
            return Errno::fault;
        if (done_ == 0 && full_)
            return Errno::inval;
        return done_;
    }

private:
    UserAddress out_;
    std::size_t room_;
    std::size_t done_{};
    bool wide_;
    bool full_{};
    bool fault_{};
};

Result<std::size_t> read_entries(int fd, UserAddress out, std::size_t size, bool wide) noexcept {
    auto file = TRY(io_file_of(fd));
    if (!file->inode || !file->inode->is_directory())
        return Errno::notdir;
    UserDirectorySink sink{out, size, wide};
    MutexGuard guard{file->position_lock};
    TRY(file->ops->read_directory(*file, sink));
    return sink.result();
}
Result<std::size_t> sys_getdents64(int fd, UserAddress out, std::size_t size) noexcept {
    return read_entries(fd, out, size, true);
}
Result<std::size_t> sys_getdents(int fd, UserAddress out, std::size_t size) noexcept {
    return read_entries(fd, out, size, false);
}

CERO_SYSCALL(3, close);
CERO_SYSCALL(22, pipe);
CERO_SYSCALL(32, dup);
CERO_SYSCALL(33, dup2);
CERO_SYSCALL(72, fcntl);
CERO_SYSCALL(73, flock);
CERO_SYSCALL(78, getdents);
CERO_SYSCALL(217, getdents64);
CERO_SYSCALL(292, dup3);
CERO_SYSCALL(293, pipe2);
CERO_SYSCALL(319, memfd_create);
CERO_SYSCALL(436, close_range);

} // namespace
} // namespace kernel
