// SPDX-License-Identifier: BSD-2-Clause
// What lwIP calls: memory, time, randomness, checksums.
#include "../fs/random.hpp"
#include "stack.hpp"
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/time.hpp>

#include <lwip/sys.h>

#include <cstring>

extern "C" {

void* cero_net_malloc(std::size_t size) {
    return kernel::kmalloc(size);
}
void* cero_net_calloc(std::size_t count, std::size_t size) {
    return kernel::kzalloc(count * size);
}
void cero_net_free(void* block) {
    kernel::kfree(block);
}

unsigned int cero_net_random() {
    unsigned int value = 0;
    kernel::random_bytes(&value, sizeof(value));
    return value;
}

void cero_net_assert(const char* what, const char* file, int line) {
    kernel::panic("lwIP: %s (%s:%d)", what, file, line);
}

u32_t sys_now() {
    return static_cast<u32_t>(kernel::monotonic_ns() / kernel::ns_per_ms);
}

/// Used by lwIP's lookup of interfaces by number.
int atoi(const char* text) {
    int value = 0;
    for (; *text >= '0' && *text <= '9'; ++text)
        value = value * 10 + (*text - '0');
    return value;
}

/// The ones' complement sum of the bytes as 16-bit words in memory order, folded, not inverted.
std::uint16_t cero_net_checksum(const void* data, int length) {
    const auto* at = static_cast<const unsigned char*>(data);
    std::uint64_t sum = 0;
    auto add = [&sum](std::uint64_t value) {
        if (__builtin_add_overflow(sum, value, &sum))
            ++sum;
    };
    for (; length >= 8; length -= 8, at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, 8);
        add(word);
    }
    if (length != 0) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, static_cast<std::size_t>(length));
        add(word);
    }
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    return static_cast<std::uint16_t>(sum);
}

} // extern "C"

namespace kernel::net {

Errno errno_of_lwip(int error) noexcept {
    switch (error) {
    case ERR_OK:
        return Errno::ok;
    case ERR_MEM:
        return Errno::nomem;
    case ERR_BUF:
        return Errno::nobufs;
    case ERR_TIMEOUT:
        return Errno::timedout;
    case ERR_RTE:
        return Errno::netunreach;
    case ERR_INPROGRESS:
        return Errno::inprogress;
    case ERR_VAL:
    case ERR_ARG:
        return Errno::inval;
    case ERR_WOULDBLOCK:
        return Errno::again;
    case ERR_USE:
        return Errno::addrinuse;
    case ERR_ALREADY:
        return Errno::already;
    case ERR_ISCONN:
        return Errno::isconn;
    case ERR_CONN:
    case ERR_CLSD:
        return Errno::notconn;
    case ERR_ABRT:
        return Errno::connaborted;
    case ERR_RST:
        return Errno::connreset;
    default:
        return Errno::io;
    }
}

} // namespace kernel::net
