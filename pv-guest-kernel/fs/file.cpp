// SPDX-License-Identifier: BSD-2-Clause
// File: creation, release and positioned I/O of one open file.
#include <kernel/file.hpp>
#include <kernel/vfs.hpp>

#include "epoll.hpp"
#include "file_locks.hpp"

#include <new>

namespace kernel {

Path::Path() noexcept = default;
Path::Path(Ref<Mount> m, Ref<Dentry> d) noexcept : mount{std::move(m)}, dentry{std::move(d)} {}
Path::Path(Path&&) noexcept = default;
Path& Path::operator=(Path&&) noexcept = default;
Path::~Path() = default;
Path Path::clone() const noexcept {
    return {mount.clone(), dentry.clone()};
}
Inode* Path::inode() const noexcept {
    return dentry ? &dentry->inode() : nullptr;
}
Path::operator bool() const noexcept {
    return dentry.get() != nullptr;
}

File::File(FileOps& operations, Path place, Ref<Inode> node, std::uint32_t open_flags) noexcept
    : ops{&operations}, path{std::move(place)}, inode{std::move(node)}, flags{open_flags} {}

File::~File() {
    if (epoll_items != nullptr)
        epoll::file_closing(*this);
    if (inode)
        file_locks::drop_open_file(*inode, *this);
    ops->release(*this);
}

Result<Ref<File>> File::create(FileOps& ops, Path path, Ref<Inode> inode,
                               std::uint32_t flags) noexcept {
    auto* file = new (std::nothrow) File{ops, std::move(path), std::move(inode), flags};
    if (file == nullptr)
        return Errno::nomem;
    return Ref<File>::adopt(file);
}

Result<Ref<File>> File::create_anonymous(FileOps& ops, const char* label, void* data,
                                         std::uint32_t flags) noexcept {
    auto file = TRY(create(ops, Path{}, nullptr, flags));
    file->label = label;
    file->data = data;
    return file;
}

Result<std::size_t> File::read(IoBuffer& buffer) noexcept {
    if (!can_read())
        return Errno::badf;
    if (!ops->is_seekable(*this))
        return ops->read(*this, buffer, 0);
    MutexGuard guard{position_lock};
    auto count = ops->read(*this, buffer, position);
    if (count)
        position += *count;
    return count;
}

Result<std::size_t> File::write(IoBuffer& buffer) noexcept {
    if (!can_write())
        return Errno::badf;
    if (!ops->is_seekable(*this))
        return ops->write(*this, buffer, 0);
    MutexGuard guard{position_lock};
    if ((flags & open_flag::append) != 0 && inode)
        position = inode->size;
    auto count = ops->write(*this, buffer, position);
    if (count)
        position += *count;
    return count;
}

Result<std::size_t> File::read_at(void* out, std::size_t size, std::uint64_t offset) noexcept {
    auto buffer = IoBuffer::kernel(out, size);
    while (buffer.remaining() != 0) {
        const std::size_t count = TRY(ops->read(*this, buffer, offset + buffer.done()));
        if (count == 0)
            break;
    }
    return buffer.done();
}

Result<std::uint64_t> FileOps::seek(File& file, std::int64_t offset, int whence) noexcept {
    if (!is_seekable(file))
        return Errno::spipe;
    enum : int { set, current, end, data, hole };
    MutexGuard guard{file.position_lock};
    const auto size = static_cast<std::int64_t>(file.inode ? file.inode->size : 0);
    std::int64_t target = 0;
    switch (whence) {
    case set:
        target = offset;
        break;
    case current:
        if (__builtin_add_overflow(static_cast<std::int64_t>(file.position), offset, &target))
            return Errno::overflow;
        break;
    case end:
        if (__builtin_add_overflow(size, offset, &target))
            return Errno::overflow;
        break;
    case data: // the whole file counts as data, with one hole behind it
    case hole:
        if (offset < 0 || offset >= size)
            return Errno::nxio;
        target = whence == data ? offset : size;
        break;
    default:
        return Errno::inval;
    }
    if (target < 0)
        return Errno::inval;
    file.position = static_cast<std::uint64_t>(target);
    return file.position;
}

} // namespace kernel
