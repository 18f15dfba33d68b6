// SPDX-License-Identifier: BSD-2-Clause
// IoBuffer: moves bytes between the kernel and the user or kernel memory of a transfer.
#include <kernel/file.hpp>
#include <kernel/user_copy.hpp>

#include <cstring>

namespace kernel {

namespace {
std::size_t smaller(std::size_t a, std::size_t b) noexcept {
    return a < b ? a : b;
}

/// Copies into segment memory; false on a fault.
bool copy_to_segment(bool user, std::uint64_t to, const void* from, std::size_t size) noexcept {
    if (user)
        return copy_to_user(to, from, size).has_value();
    std::memcpy(reinterpret_cast<void*>(to), from, size);
    return true;
}
bool copy_from_segment(bool user, void* to, std::uint64_t from, std::size_t size) noexcept {
    if (user)
        return copy_from_user(to, from, size).has_value();
    std::memcpy(to, reinterpret_cast<const void*>(from), size);
    return true;
}
} // namespace

IoBuffer::IoBuffer(IoSegment single, bool is_user) noexcept
    : single_{single}, count_{1}, remaining_{single.length}, is_user_{is_user} {}

IoBuffer::IoBuffer(IoBuffer&& other) noexcept
    : single_{other.single_}, segments_{other.segments_}, count_{other.count_},
      offset_{other.offset_},
      remaining_{other.remaining_}, done_{other.done_}, is_user_{other.is_user_} {}

IoBuffer IoBuffer::user(const IoSegment* segments, std::size_t count) noexcept {
    IoBuffer buffer{{0, 0}, true};
    buffer.segments_ = segments;
    buffer.count_ = count;
    for (std::size_t i = 0; i < count; ++i)
        buffer.remaining_ += segments[i].length;
    buffer.advance(0);
    return buffer;
}

IoSegment IoBuffer::run() const noexcept {
    if (remaining_ == 0)
        return {0, 0};
    const IoSegment& now = segments_ == nullptr ? single_ : segments_[0];
    return {now.base + offset_, smaller(now.length - offset_, remaining_)};
}

void IoBuffer::truncate(std::size_t size) noexcept {
    remaining_ = smaller(remaining_, size);
}

void IoBuffer::advance(std::size_t size) noexcept {
    size = smaller(size, remaining_);
    remaining_ -= size;
    done_ += size;
    offset_ += size;
    if (segments_ == nullptr)
        return;
    while (count_ > 1 && offset_ >= segments_[0].length) {
        offset_ -= segments_[0].length;
        ++segments_;
        --count_;
    }
}

template <typename Copy>
Result<std::size_t> IoBuffer::transfer(std::size_t size, Copy copy) noexcept {
    std::size_t copied = 0;
    size = smaller(size, remaining_);
    while (copied < size) {
        const IoSegment part = run();
        const std::size_t length = smaller(part.length, size - copied);
        if (!copy(part.base, copied, length)) {
            if (copied == 0)
                return Errno::fault;
            break;
        }
        copied += length;
        advance(length);
    }
    return copied;
}

Result<std::size_t> IoBuffer::put(const void* source, std::size_t size) noexcept {
    const auto* from = static_cast<const char*>(source);
    return transfer(size, [&](std::uint64_t at, std::size_t done, std::size_t length) {
        return copy_to_segment(is_user_, at, from + done, length);
    });
}

Result<std::size_t> IoBuffer::get(void* destination, std::size_t size) noexcept {
    auto* to = static_cast<char*>(destination);
    return transfer(size, [&](std::uint64_t at, std::size_t done, std::size_t length) {
        return copy_from_segment(is_user_, to + done, at, length);
    });
}

Result<std::size_t> IoBuffer::put_zeros(std::size_t size) noexcept {
    static constexpr char zeros[512]{};
    std::size_t written = 0;
    while (written < size && remaining_ != 0) {
        auto part = put(zeros, smaller(sizeof(zeros), size - written));
        if (!part)
            return written != 0 ? Result<std::size_t>{written} : Result<std::size_t>{part.error()};
        written += *part;
        if (*part == 0)
            break;
    }
    return written;
}

} // namespace kernel
