// SPDX-License-Identifier: BSD-2-Clause
// Random bytes: ChaCha20 [RFC 8439] keyed from a pool that RDRAND, the clocks and events are mixed
// into.
#include "random.hpp"
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

#include <cstdint>
#include <cstring>

namespace kernel {

namespace {

struct Pool {
    Spinlock lock;
    std::uint32_t key[8]{};
    std::uint64_t counter{};
    bool seeded{};
};

Pool pool;

constexpr std::uint32_t rotate(std::uint32_t x, unsigned n) noexcept {
    return x << n | x >> (32 - n);
}

constexpr void quarter(std::uint32_t* s, unsigned a, unsigned b, unsigned c, unsigned d) noexcept {
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 7);
}

void block(std::uint32_t (&out)[16]) noexcept {
    std::uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    std::memcpy(start + 4, pool.key, sizeof(pool.key));
    start[12] = static_cast<std::uint32_t>(pool.counter);
    start[13] = static_cast<std::uint32_t>(pool.counter >> 32U);
    ++pool.counter;
    std::memcpy(out, start, sizeof(out));
    for (int round = 0; round < 10; ++round) {
        quarter(out, 0, 4, 8, 12);
        quarter(out, 1, 5, 9, 13);
        quarter(out, 2, 6, 10, 14);
        quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15);
        quarter(out, 1, 6, 11, 12);
        quarter(out, 2, 7, 8, 13);
        quarter(out, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; ++i)
        out[i] += start[i];
}

/// The key is replaced by output after each use, so that a later leak does not reveal earlier
/// bytes.
void rekey() noexcept {
    std::uint32_t fresh[16];
    block(fresh);
    std::memcpy(pool.key, fresh, sizeof(pool.key));
}

void mix(const void* data, std::size_t size) noexcept {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) {
        pool.key[i / 4 % 8] ^= std::uint32_t{bytes[i]} << (i % 4 * 8);
        if (i % 32 == 31)
            rekey();
    }
    rekey();
}

void seed() noexcept {
    for (int i = 0; i < 8; ++i) {
        const std::uint64_t words[] = {hardware_random(), __builtin_ia32_rdtsc(), monotonic_ns(),
                                       wall_ns()};
        mix(words, sizeof(words));
    }
    pool.seeded = true;
}

} // namespace

void random_bytes(void* out, std::size_t size) noexcept {
    SpinGuard guard{pool.lock};
    if (!pool.seeded)
        seed();
    const std::uint64_t now = __builtin_ia32_rdtsc();
    pool.key[0] ^= static_cast<std::uint32_t>(now);
    auto* at = static_cast<char*>(out);
    while (size != 0) {
        std::uint32_t bytes[16];
        block(bytes);
        const std::size_t part = size < sizeof(bytes) ? size : sizeof(bytes);
        std::memcpy(at, bytes, part);
        at += part;
        size -= part;
    }
    rekey();
}

void add_entropy(const void* data, std::size_t size) noexcept {
    SpinGuard guard{pool.lock};
    mix(data, size);
}

} // namespace kernel
