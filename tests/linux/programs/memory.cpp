// SPDX-License-Identifier: BSD-2-Clause
// memory [RESERVE_MIB]: fills all memory that is free but for the reserve, each word with a value
// of its own; a thread per CPU. Each part is read by another CPU than the one that wrote it. Half
// of the pages are then given back and taken again, and what was kept must not have changed.
#include "check.hpp"

#include <algorithm>
#include <barrier>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

namespace {

using namespace test;

constexpr std::size_t page = 4096, words = page / sizeof(std::uint64_t), mib = 1 << 20;
constexpr std::size_t stripe = 64; // pages that are given back or kept together

std::size_t kib_of(const std::string& name) {
    std::ifstream file{"/proc/meminfo"};
    std::string word;
    std::size_t kib = 0;
    while (file >> word)
        if (word == name + ":" && file >> kib)
            return kib;
    return fail("no %s in /proc/meminfo", name.c_str()), 0;
}

std::uint64_t value(std::size_t index, std::uint64_t seed) {
    return (index + seed) * 0x9e3779b97f4a7c15u ^ seed;
}

struct Memory {
    std::uint64_t* base;
    std::size_t pages;
    std::size_t parts;

    std::size_t first(std::size_t part) const { return pages * part / parts; }

    void fill(std::size_t part, std::uint64_t seed, bool odd_stripes_only) const {
        for (std::size_t n = first(part); n < first(part + 1); ++n) {
            if (odd_stripes_only && n / stripe % 2 == 0)
                continue;
            std::uint64_t* at = base + n * words;
            for (std::size_t word = 0; word < words; ++word)
                at[word] = value(n * words + word, seed);
        }
    }

    /// `kept`: seed of the even stripes.
    void verify(std::size_t part, std::uint64_t kept, std::uint64_t seed) const {
        for (std::size_t n = first(part); n < first(part + 1); ++n) {
            const std::uint64_t wanted = n / stripe % 2 == 0 ? kept : seed;
            const std::uint64_t* at = base + n * words;
            std::uint64_t differences = 0;
            for (std::size_t word = 0; word < words; ++word)
                differences |= at[word] ^ value(n * words + word, wanted);
            if (differences != 0)
                return fail("page %zu of %zu holds other data than was written", n, pages);
        }
    }

    void give_back(std::size_t part) const {
        const std::size_t end = first(part + 1);
        for (std::size_t n = first(part); n < end; n = std::min(end, (n / stripe + 1) * stripe))
            if (n / stripe % 2 == 1)
                madvise(base + n * words, std::min(stripe - n % stripe, end - n) * page,
                        MADV_DONTNEED);
    }
};

void work(const Memory& memory, std::size_t part, std::barrier<>& together) {
    constexpr std::uint64_t one = 0x1234567, two = 0x89abcdef;
    const std::size_t other = (part + 1) % memory.parts;
    memory.fill(part, one, false);
    together.arrive_and_wait();
    memory.verify(other, one, one);
    together.arrive_and_wait();
    memory.give_back(part);
    together.arrive_and_wait();
    memory.fill(other, two, true);
    together.arrive_and_wait();
    memory.verify(part, one, two);
}

} // namespace

int main(int argc, char** argv) {
    const std::size_t total = kib_of("MemTotal") / 1024, available = kib_of("MemAvailable") / 1024;
    const std::size_t reserve = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 8 + total / 64;
    if (available <= reserve)
        return fail("%zu MiB are available, %zu are to be left", available, reserve),
               finish("memory");
    const std::size_t size = (available - reserve) * mib;
    void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return fail("no mapping of %zu MiB", size / mib), finish("memory");
    const Memory memory{static_cast<std::uint64_t*>(base), size / page,
                        static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN))};
    std::barrier together{static_cast<std::ptrdiff_t>(memory.parts)};
    std::vector<std::thread> threads;
    for (std::size_t part = 0; part < memory.parts; ++part)
        threads.emplace_back(work, std::cref(memory), part, std::ref(together));
    for (std::thread& thread : threads)
        thread.join();
    std::printf("memory: %zu MiB of %zu filled and verified, %zu threads\n", size / mib, total,
                memory.parts);
    return finish("memory");
}
