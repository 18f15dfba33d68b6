// SPDX-License-Identifier: BSD-2-Clause
// What the file system calls share: descriptors, paths from user memory, iovecs, timespecs.
#pragma once

#include "path_walk.hpp"
#include "vfs_operations.hpp"
#include <kernel/file.hpp>
#include <kernel/memory.hpp>
#include <kernel/syscall.hpp>
#include <kernel/user_copy.hpp>
#include <kernel/vfs.hpp>

namespace kernel {

inline constexpr int at_fdcwd = -100;
inline constexpr int at_symlink_nofollow = 0x100;
inline constexpr int at_remove_directory = 0x200;
inline constexpr int at_symlink_follow = 0x400;
inline constexpr int at_empty_path = 0x1000;

inline Result<Ref<File>> file_of(int fd) noexcept {
    return current_files().lookup(fd);
}
/// As file_of(), but refuses O_PATH descriptors.
inline Result<Ref<File>> io_file_of(int fd) noexcept {
    auto file = TRY(current_files().lookup(fd));
    if (file->is_path())
        return Errno::badf;
    return file;
}

/// A path copied from user memory; short ones stay on the stack.
class UserPath {
public:
    UserPath() noexcept = default;
    ~UserPath() { kfree(heap_); }
    UserPath(const UserPath&) = delete;
    UserPath& operator=(const UserPath&) = delete;

    Status load(UserAddress from) noexcept {
        auto length = copy_string_from_user(short_, from, sizeof(short_));
        if (length) {
            text_ = {short_, *length};
            return {};
        }
        if (length.error() != Errno::nametoolong)
            return length.error();
        heap_ = static_cast<char*>(kmalloc(path_walk::max_path));
        if (heap_ == nullptr)
            return Errno::nomem;
        text_ = { heap_, TRY(copy_string_from_user(heap_, from, path_walk::max_path)) };
        return {};
    }
    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    char short_[128];
    char* heap_{};
    std::string_view text_;
};

/// The starting directory that a `dirfd` argument names for `path`.
class StartingPoint {
public:
    Status load(int dirfd, std::string_view path) noexcept {
        if (dirfd == at_fdcwd || (!path.empty() && path.front() == '/'))
            return {};
        auto file = TRY(file_of(dirfd));
        if (!file->path)
            return Errno::notdir;
        if (!path.empty() && !file->inode->is_directory())
            return Errno::notdir;
        path_ = file->path.clone();
        return {};
    }
    [[nodiscard]] const Path* get() const noexcept { return path_ ? &path_ : nullptr; }

private:
    Path path_;
};

/// An iovec array from user memory.
class UserSegments {
public:
    static constexpr std::size_t max_segments = 1024;
    UserSegments() noexcept = default;
    ~UserSegments() {
        if (segments_ != few_)
            kfree(segments_);
    }
    UserSegments(const UserSegments&) = delete;
    UserSegments& operator=(const UserSegments&) = delete;

    Status load(UserAddress from, std::size_t count) noexcept {
        if (count > max_segments)
            return Errno::inval;
        if (count > few) {
            segments_ = static_cast<IoSegment*>(kmalloc(count * sizeof(IoSegment)));
            if (segments_ == nullptr) {
                segments_ = few_;
                return Errno::nomem;
            }
        }
        count_ = count;
        if (count != 0)
            TRY(copy_from_user(segments_, from, count * sizeof(IoSegment)));
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < count; ++i)
            if (__builtin_add_overflow(total, segments_[i].length, &total) || (total >> 63U) != 0)
                return Errno::inval;
        return {};
    }
    [[nodiscard]] IoBuffer buffer() const noexcept { return IoBuffer::user(segments_, count_); }

private:
    static constexpr std::size_t few = 8;
    IoSegment few_[few];
    IoSegment* segments_{few_};
    std::size_t count_{};
};

struct UserTimespec {
    std::int64_t seconds;
    std::int64_t nanoseconds;

    [[nodiscard]] bool is_valid() const noexcept {
        return seconds >= 0 && nanoseconds >= 0 && nanoseconds < 1'000'000'000;
    }
    /// Saturates.
    [[nodiscard]] Nanoseconds to_ns() const noexcept {
        std::uint64_t total = 0;
        if (__builtin_mul_overflow(static_cast<std::uint64_t>(seconds), ns_per_s, &total) ||
            __builtin_add_overflow(total, static_cast<std::uint64_t>(nanoseconds), &total))
            return ~Nanoseconds{0};
        return total;
    }
    static UserTimespec from_ns(Nanoseconds t) noexcept {
        return {static_cast<std::int64_t>(t / ns_per_s), static_cast<std::int64_t>(t % ns_per_s)};
    }
};

} // namespace kernel
