// SPDX-License-Identifier: BSD-2-Clause
// System calls that move data: read, write and their vector and positioned forms, sendfile, seek,
// sync.
#include "page_cache.hpp"
#include "syscall_support.hpp"

namespace kernel {

namespace {

constexpr std::size_t max_transfer = 0x7ffff000;

Result<std::size_t> read_from(int fd, IoBuffer& buffer) noexcept {
    auto file = TRY(file_of(fd));
    buffer.truncate(max_transfer);
    return file->read(buffer);
}
Result<std::size_t> write_to(int fd, IoBuffer& buffer) noexcept {
    auto file = TRY(file_of(fd));
    buffer.truncate(max_transfer);
    return file->write(buffer);
}

Result<std::size_t> read_at(int fd, IoBuffer& buffer, std::int64_t offset) noexcept {
    auto file = TRY(file_of(fd));
    if (offset < 0)
        return Errno::inval;
    if (!file->can_read())
        return Errno::badf;
    if (!file->ops->is_seekable(*file))
        return Errno::spipe;
    buffer.truncate(max_transfer);
    return file->ops->read(*file, buffer, static_cast<std::uint64_t>(offset));
}
Result<std::size_t> write_at(int fd, IoBuffer& buffer, std::int64_t offset) noexcept {
    auto file = TRY(file_of(fd));
    if (offset < 0)
        return Errno::inval;
    if (!file->can_write())
        return Errno::badf;
    if (!file->ops->is_seekable(*file))
        return Errno::spipe;
    buffer.truncate(max_transfer);
    const bool append = (file->flags & open_flag::append) != 0 && file->inode;
    return file->ops->write(*file, buffer,
                            append ? file->inode->size : static_cast<std::uint64_t>(offset));
}

Result<std::size_t> sys_read(int fd, UserAddress data, std::size_t size) noexcept {
    auto buffer = IoBuffer::user(data, size);
    return read_from(fd, buffer);
}
Result<std::size_t> sys_write(int fd, UserAddress data, std::size_t size) noexcept {
    auto buffer = IoBuffer::user(data, size);
    return write_to(fd, buffer);
}
Result<std::size_t> sys_pread64(int fd, UserAddress data, std::size_t size,
                                std::int64_t offset) noexcept {
    auto buffer = IoBuffer::user(data, size);
    return read_at(fd, buffer, offset);
}
Result<std::size_t> sys_pwrite64(int fd, UserAddress data, std::size_t size,
                                 std::int64_t offset) noexcept {
    auto buffer = IoBuffer::user(data, size);
    return write_at(fd, buffer, offset);
}
Result<std::size_t> sys_readv(int fd, UserAddress vector, std::size_t count) noexcept {
    UserSegments segments;
    TRY(segments.load(vector, count));
    auto buffer = segments.buffer();
    return read_from(fd, buffer);
}
Result<std::size_t> sys_writev(int fd, UserAddress vector, std::size_t count) noexcept {
    UserSegments segments;
    TRY(segments.load(vector, count));
    auto buffer = segments.buffer();
    return write_to(fd, buffer);
}
Result<std::size_t> sys_preadv(int fd, UserAddress vector, std::size_t count,
                               std::int64_t offset) noexcept {
    UserSegments segments;
    TRY(segments.load(vector, count));
    auto buffer = segments.buffer();
    return read_at(fd, buffer, offset);
}
Result<std::size_t> sys_pwritev(int fd, UserAddress vector, std::size_t count,
                                std::int64_t offset) noexcept {
    UserSegments segments;
    TRY(segments.load(vector, count));
    auto buffer = segments.buffer();
    return write_at(fd, buffer, offset);
}
Result<std::size_t> sys_preadv2(int fd, UserAddress vector, std::size_t count,
                                std::int64_t offset) noexcept {
    return offset == -1 ? sys_readv(fd, vector, count) : sys_preadv(fd, vector, count, offset);
}
Result<std::size_t> sys_pwritev2(int fd, UserAddress vector, std::size_t count,
                                 std::int64_t offset) noexcept {
    return offset == -1 ? sys_writev(fd, vector, count) : sys_pwritev(fd, vector, count, offset);
}

Result<std::uint64_t> sys_lseek(int fd, std::int64_t offset, int whence) noexcept {
    auto file = TRY(io_file_of(fd));
    return file->ops->seek(*file, offset, whence);
}

Result<std::int64_t> sys_ioctl(int fd, std::uint32_t command, std::uint64_t argument) noexcept {
    auto file = TRY(io_file_of(fd));
    constexpr std::uint32_t fionclex = 0x5450, fioclex = 0x5451, fionbio = 0x5421,
                            fioasync = 0x5452;
    constexpr std::uint32_t fionread = 0x541b;
    switch (command) {
    case fionclex:
    case fioclex:
        TRY(current_files().set_close_on_exec(fd, command == fioclex));
        return 0;
    case fionbio: {
        const int on = TRY(read_user<int>(argument));
        file->flags =
            on != 0 ? file->flags | open_flag::nonblock : file->flags & ~open_flag::nonblock;
        return 0;
    }
    case fioasync:
        return 0;
    case fionread:
        if (file->inode && file->inode->is_regular()) {
            TRY(write_user(argument, static_cast<int>(file->inode->size - file->position)));
            return 0;
        }
        break;
    default:
        break;
    }
    return file->ops->ioctl(*file, command, argument);
}

/// Moves data between two files through one kernel page-sized buffer.
class Mover {
public:
    Mover(File& from, File& to) noexcept : from_{from}, to_{to} {}
    Result<std::size_t> run(std::uint64_t* from_offset, std::uint64_t* to_offset,
                            std::size_t size) noexcept {
        unsigned order = 3;
        auto* bytes = static_cast<char*>(alloc_buffer(order));
        if (bytes == nullptr)
            return Errno::nomem;
        const std::size_t room = page_size << order;
        std::size_t moved = 0;
        Errno error = Errno::ok;
        while (moved < size && error == Errno::ok) {
            auto in = IoBuffer::kernel(bytes, size - moved < room ? size - moved : room);
            auto got =
                from_offset != nullptr ? from_.ops->read(from_, in, *from_offset) : from_.read(in);
            if (!got || *got == 0) {
                error = got.error();
                break;
            }
            const std::size_t sent = send(bytes, *got, to_offset, error);
            if (from_offset != nullptr)
                *from_offset += sent;
            else if (sent < *got && from_.ops->is_seekable(from_))
                from_.position -= *got - sent;
            moved += sent;
            if (sent < *got)
                break;
        }
        free_pages(bytes, order);
        return moved != 0 || error == Errno::ok ? Result<std::size_t>{moved}
                                                : Result<std::size_t>{error};
    }

private:
    std::size_t send(const char* bytes, std::size_t size, std::uint64_t* offset,
                     Errno& error) noexcept {
        auto out = IoBuffer::kernel(bytes, size);
        while (out.remaining() != 0) {
            auto put = offset != nullptr ? to_.ops->write(to_, out, *offset) : to_.write(out);
            if (!put) {
                error = put.error();
                break;
            }
            if (offset != nullptr)
                *offset += *put;
        }
        return out.done();
    }
    File& from_;
    File& to_;
};

Result<std::size_t> sys_sendfile(int out, int in, UserAddress offset, std::size_t size) noexcept {
    auto to = TRY(io_file_of(out));
    auto from = TRY(io_file_of(in));
    if (!from->can_read() || !to->can_write())
        return Errno::badf;
    if (!from->ops->is_seekable(*from)) // a terminal's or pipe's end of file must reach the program
        return Errno::inval;
    std::uint64_t position = 0;
    if (offset != 0)
        position = TRY(read_user<std::uint64_t>(offset));
    auto moved = Mover{*from, *to}.run(offset != 0 ? &position : nullptr, nullptr,
                                       size < max_transfer ? size : max_transfer);
    if (moved && offset != 0)
        TRY(write_user(offset, position));
    return moved;
}

Result<std::size_t> sys_copy_file_range(int in, UserAddress in_offset, int out,
                                        UserAddress out_offset, std::size_t size,
                                        unsigned flags) noexcept {
    auto from = TRY(io_file_of(in));
    auto to = TRY(io_file_of(out));
    if (flags != 0)
        return Errno::inval;
    if (!from->can_read() || !to->can_write())
        return Errno::badf;
    if (!from->inode || !to->inode || !from->inode->is_regular() || !to->inode->is_regular())
        return Errno::inval;
    std::uint64_t source = 0;
    std::uint64_t target = 0;
    if (in_offset != 0)
        source = TRY(read_user<std::uint64_t>(in_offset));
    if (out_offset != 0)
        target = TRY(read_user<std::uint64_t>(out_offset));
    auto moved = Mover{*from, *to}.run(in_offset != 0 ? &source : nullptr,
                                       out_offset != 0 ? &target : nullptr,
                                       size < max_transfer ? size : max_transfer);
    if (moved && in_offset != 0)
        TRY(write_user(in_offset, source));
    if (moved && out_offset != 0)
        TRY(write_user(out_offset, target));
    return moved;
}

Status sys_fsync(int fd) noexcept {
    auto file = TRY(io_file_of(fd));
    return file->ops->sync(*file, false);
}
Status sys_fdatasync(int fd) noexcept {
    auto file = TRY(io_file_of(fd));
    return file->ops->sync(*file, true);
}
Status sys_sync_file_range(int fd) noexcept {
    return sys_fdatasync(fd);
}
Status sys_sync() noexcept {
    (void)vfs::sync_all();
    return {};
}
Status sys_syncfs(int fd) noexcept {
    auto file = TRY(file_of(fd));
    return file->inode ? file->inode->superblock.sync() : Status{};
}
Status sys_fadvise64(int fd) noexcept {
    TRY(file_of(fd));
    return {};
}
Status sys_readahead(int fd) noexcept {
    return sys_fadvise64(fd);
}

Status sys_ftruncate(int fd, std::int64_t size) noexcept {
    auto file = TRY(io_file_of(fd));
    if (size < 0 || !file->inode || !file->can_write())
        return Errno::inval;
    return vfs::truncate(*file->inode, static_cast<std::uint64_t>(size));
}

Status sys_fallocate(int fd, int how, std::int64_t offset, std::int64_t size) noexcept {
    auto file = TRY(io_file_of(fd));
    if (offset < 0 || size <= 0)
        return Errno::inval;
    if (!file->can_write())
        return Errno::badf;
    return file->ops->allocate(*file, how, static_cast<std::uint64_t>(offset),
                               static_cast<std::uint64_t>(size));
}

CERO_SYSCALL(0, read);
CERO_SYSCALL(1, write);
CERO_SYSCALL(8, lseek);
CERO_SYSCALL(16, ioctl);
CERO_SYSCALL(17, pread64);
CERO_SYSCALL(18, pwrite64);
CERO_SYSCALL(19, readv);
CERO_SYSCALL(20, writev);
CERO_SYSCALL(40, sendfile);
CERO_SYSCALL(74, fsync);
CERO_SYSCALL(75, fdatasync);
CERO_SYSCALL(77, ftruncate);
CERO_SYSCALL(162, sync);
CERO_SYSCALL(187, readahead);
CERO_SYSCALL(221, fadvise64);
CERO_SYSCALL(277, sync_file_range);
CERO_SYSCALL(285, fallocate);
CERO_SYSCALL(295, preadv);
CERO_SYSCALL(296, pwritev);
CERO_SYSCALL(306, syncfs);
CERO_SYSCALL(326, copy_file_range);
CERO_SYSCALL(327, preadv2);
CERO_SYSCALL(328, pwritev2);

} // namespace
} // namespace kernel
