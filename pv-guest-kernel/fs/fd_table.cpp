// SPDX-License-Identifier: BSD-2-Clause
// FdTable: the descriptor numbers of a process.
#include "file_locks.hpp"
#include <kernel/file.hpp>
#include <kernel/memory.hpp>
#include <kernel/user_copy.hpp>
#include <kernel/vfs.hpp>

#include <cstring>
#include <new>

namespace kernel {

namespace {
constexpr int initial_capacity = 32;
constexpr int maximum_capacity = 65536;
} // namespace

Result<Ref<FdTable>> FdTable::create() noexcept {
    auto* table = new (std::nothrow) FdTable;
    if (table == nullptr)
        return Errno::nomem;
    auto owner = Ref<FdTable>::adopt(table);
    TRY(table->grow(initial_capacity - 1));
    return owner;
}

FdTable::~FdTable() {
    close_all();
    kfree(slots_);
}

Status FdTable::grow(int minimum) noexcept {
    if (minimum < capacity_)
        return {};
    int capacity = capacity_ == 0 ? initial_capacity : capacity_;
    while (capacity <= minimum)
        capacity *= 2;
    if (capacity > maximum_capacity)
        return Errno::mfile;
    auto* slots = static_cast<Slot*>(kzalloc(static_cast<std::size_t>(capacity) * sizeof(Slot)));
    if (slots == nullptr)
        return Errno::nomem;
    Slot* old = slots_;
    {
        SpinGuard guard{lock_};
        if (old != nullptr)
            std::memcpy(slots, old, static_cast<std::size_t>(capacity_) * sizeof(Slot));
        slots_ = slots;
        capacity_ = capacity;
    }
    kfree(old);
    return {};
}

Result<Ref<FdTable>> FdTable::duplicate() noexcept {
    auto copy = TRY(create());
    TRY(copy->grow(capacity_ - 1));
    SpinGuard guard{lock_};
    for (int fd = 0; fd < capacity_; ++fd) {
        copy->slots_[fd] = slots_[fd];
        if (slots_[fd].file != nullptr)
            slots_[fd].file->get();
    }
    copy->limit = limit;
    return copy;
}

Result<int> FdTable::install(Ref<File> file, bool close_on_exec, int minimum) noexcept {
    if (minimum < 0 || minimum >= limit)
        return Errno::inval;
    for (;;) {
        {
            SpinGuard guard{lock_};
            for (int fd = minimum; fd < capacity_ && fd < limit; ++fd) {
                if (slots_[fd].file != nullptr)
                    continue;
                slots_[fd] = {file.into_raw(), close_on_exec};
                return fd;
            }
        }
        if (capacity_ >= limit)
            return Errno::mfile;
        TRY(grow(minimum > capacity_ ? minimum : capacity_));
    }
}

Status FdTable::install_pair(Ref<File> first, Ref<File> second, bool close_on_exec,
                             std::uint64_t out) noexcept {
    int fds[2];
    fds[0] = TRY(install(std::move(first), close_on_exec));
    auto other = install(std::move(second), close_on_exec);
    Errno error = other.error();
    if (other) {
        fds[1] = *other;
        error = copy_to_user(out, fds, sizeof(fds)).error();
        if (error != Errno::ok)
            (void)close(fds[1]);
    }
    if (error != Errno::ok)
        (void)close(fds[0]);
    return error;
}

Status FdTable::install_at(int fd, Ref<File> file, bool close_on_exec) noexcept {
    if (fd < 0 || fd >= limit)
        return Errno::badf;
    TRY(grow(fd));
    File* old = nullptr;
    {
        SpinGuard guard{lock_};
        old = slots_[fd].file;
        slots_[fd] = {file.into_raw(), close_on_exec};
    }
    if (old != nullptr) {
        (void)old->ops->flush(*old);
        old->put();
    }
    return {};
}

Result<Ref<File>> FdTable::lookup(int fd) noexcept {
    SpinGuard guard{lock_};
    if (fd < 0 || fd >= capacity_ || slots_[fd].file == nullptr)
        return Errno::badf;
    return Ref<File>::share(slots_[fd].file);
}

Status FdTable::close(int fd) noexcept {
    File* file = nullptr;
    {
        SpinGuard guard{lock_};
        if (fd < 0 || fd >= capacity_ || slots_[fd].file == nullptr)
            return Errno::badf;
        file = slots_[fd].file;
        slots_[fd] = {nullptr, false};
    }
    if (file->inode)
        file_locks::drop_process(*file->inode, *this);
    auto status = file->ops->flush(*file);
    file->put();
    return status;
}

void FdTable::close_range(unsigned first, unsigned last) noexcept {
    for (unsigned fd = first; fd <= last && fd < static_cast<unsigned>(capacity_); ++fd)
        (void)close(static_cast<int>(fd));
}

void FdTable::close_on_exec() noexcept {
    for (int fd = 0; fd < capacity_; ++fd)
        if (slots_[fd].close_on_exec)
            (void)close(fd);
}

void FdTable::close_all() noexcept {
    for (int fd = 0; fd < capacity_; ++fd)
        (void)close(fd);
}

Result<bool> FdTable::get_close_on_exec(int fd) noexcept {
    SpinGuard guard{lock_};
    if (fd < 0 || fd >= capacity_ || slots_[fd].file == nullptr)
        return Errno::badf;
    return slots_[fd].close_on_exec;
}

Status FdTable::set_close_on_exec(int fd, bool on) noexcept {
    SpinGuard guard{lock_};
    if (fd < 0 || fd >= capacity_ || slots_[fd].file == nullptr)
        return Errno::badf;
    slots_[fd].close_on_exec = on;
    return {};
}

} // namespace kernel
