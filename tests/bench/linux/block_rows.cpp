// SPDX-License-Identifier: BSD-2-Clause
// One request after the other, past the page cache: sequential 64 KiB, random 4 KiB.
#include "harness.hpp"

#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace bench {

namespace {

constexpr std::size_t large = 65536, small = 4096;
constexpr off_t span = off_t{16} << 20;

alignas(4096) char buffer[large];

std::string name_of(const char* prefix, const char* what) {
    return std::string{prefix} + what;
}

} // namespace

void block_rows(const char* device, const char* prefix) {
    const int disk = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk < 0)
        fail(device);
    std::memset(buffer, 0x5A, sizeof buffer);
    for (off_t at = 0; at < span; at += static_cast<off_t>(large)) // a RAM disk gets its pages here
        if (pwrite(disk, buffer, large, at) != static_cast<ssize_t>(large))
            fail(device);

    off_t at = 0;
    const auto sequential = [&](auto transfer) {
        if (transfer(disk, buffer, large, at) != static_cast<ssize_t>(large))
            fail(device);
        at = (at + static_cast<off_t>(large)) % span;
    };
    std::uint32_t state = 1;
    const auto random = [&](auto transfer) {
        state = state * 1664525 + 1013904223;
        const off_t place = static_cast<off_t>(state >> 8) % (span / static_cast<off_t>(small)) *
                            static_cast<off_t>(small);
        if (transfer(disk, buffer, small, place) != static_cast<ssize_t>(small))
            fail(device);
    };
    measure(name_of(prefix, "_read_64k").c_str(), 16, 16, [&] { sequential(pread); });
    measure(name_of(prefix, "_write_64k").c_str(), 16, 16, [&] { sequential(pwrite); });
    measure(name_of(prefix, "_read_4k").c_str(), 16, 32, [&] { random(pread); });
    measure(name_of(prefix, "_write_4k").c_str(), 16, 32, [&] { random(pwrite); });
    close(disk);
}

} // namespace bench
