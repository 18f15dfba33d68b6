// SPDX-License-Identifier: BSD-2-Clause
// XenStore byte rings, message assembly, error names.
#include "wire.hpp"

#include <cstring>

namespace drivers::xenbus {

namespace {

constexpr std::uint32_t ring_size = CERO_XENSTORE_RING_SIZE;

struct ErrorName {
    Errno error;
    const char* name;
};
constexpr ErrorName error_names[] = {
    {Errno::inval, "EINVAL"}, {Errno::acces, "EACCES"},   {Errno::exist, "EEXIST"},
    {Errno::isdir, "EISDIR"}, {Errno::noent, "ENOENT"},   {Errno::nomem, "ENOMEM"},
    {Errno::nospc, "ENOSPC"}, {Errno::io, "EIO"},         {Errno::notempty, "ENOTEMPTY"},
    {Errno::nosys, "ENOSYS"}, {Errno::rofs, "EROFS"},     {Errno::busy, "EBUSY"},
    {Errno::again, "EAGAIN"}, {Errno::isconn, "EISCONN"}, {Errno::too_big, "E2BIG"},
    {Errno::perm, "EPERM"},
};

/// Bytes before the ring wraps, at most `count`.
std::size_t straight(std::uint32_t index, std::size_t count) noexcept {
    const std::size_t to_end = ring_size - index % ring_size;
    return to_end < count ? to_end : count;
}

} // namespace

std::uint32_t ByteRing::used() const noexcept {
    return __atomic_load_n(producer_, __ATOMIC_ACQUIRE) -
           __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
}

std::size_t ByteRing::readable() const noexcept {
    const std::uint32_t count = used();
    return count <= ring_size ? count : 0;
}

std::size_t ByteRing::writable() const noexcept {
    const std::uint32_t count = used();
    return count <= ring_size ? ring_size - count : 0;
}

std::size_t ByteRing::write(const void* from, std::size_t size) noexcept {
    const std::size_t room = writable();
    const std::size_t count = size < room ? size : room;
    const std::uint32_t at = *producer_;
    const std::size_t first = straight(at, count);
    std::memcpy(data_ + at % ring_size, from, first);
    std::memcpy(data_, static_cast<const char*>(from) + first, count - first);
    __atomic_store_n(producer_, at + static_cast<std::uint32_t>(count), __ATOMIC_RELEASE);
    return count;
}

std::size_t ByteRing::read(void* to, std::size_t size) noexcept {
    const std::size_t there = readable();
    const std::size_t count = size < there ? size : there;
    const std::uint32_t at = *consumer_;
    const std::size_t first = straight(at, count);
    std::memcpy(to, data_ + at % ring_size, first);
    std::memcpy(static_cast<char*>(to) + first, data_, count - first);
    __atomic_store_n(consumer_, at + static_cast<std::uint32_t>(count), __ATOMIC_RELEASE);
    return count;
}

MessageAssembler::Need MessageAssembler::need() const noexcept {
    if (filled_ < sizeof header_)
        return Need::header;
    if (header_.len > CERO_XENSTORE_PAYLOAD_MAX)
        return Need::broken;
    return filled_ < sizeof header_ + header_.len ? Need::payload : Need::nothing;
}

std::span<char> MessageAssembler::window() noexcept {
    switch (need()) {
    case Need::header:
        return {reinterpret_cast<char*>(&header_) + filled_, sizeof header_ - filled_};
    case Need::payload: {
        const std::size_t have = filled_ - sizeof header_;
        return {payload_ + have, header_.len - have};
    }
    case Need::nothing:
    case Need::broken:
        break;
    }
    return {};
}

Errno error_from_name(const char* name) noexcept {
    for (const ErrorName& entry : error_names)
        if (std::strcmp(entry.name, name) == 0)
            return entry.error;
    return Errno::inval;
}

const char* error_name(Errno error) noexcept {
    for (const ErrorName& entry : error_names)
        if (entry.error == error)
            return entry.name;
    return "EINVAL";
}

} // namespace drivers::xenbus
