// SPDX-License-Identifier: BSD-2-Clause
// mappings PROCESSES MAPPINGS ROUNDS: work for page tables. Many processes at once, each with many
// small mappings far apart, which protect, move, split and drop them in random order while they
// fork and exit; every page is checked against what the process believes it holds.
#include "check.hpp"

#include <fstream>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

using namespace test;

constexpr std::size_t page = 4096, shared_pages = 512;
constexpr std::size_t stride = 16 * page; // 32 mappings to a page table
constexpr std::size_t wide_pages = 4096;  // two large ranges, moved and protected as a whole
int backing = -1;                         // its page n begins with stamp(n)
int scratch_pipe[2];

std::uint64_t stamp(std::size_t n) {
    return n * 0x9e3779b97f4a7c15u + 1;
}

/// What the kernel says of an access, without a signal.
bool can_read(const void* at) {
    char byte;
    return write(scratch_pipe[1], at, 1) == 1 && read(scratch_pipe[0], &byte, 1) == 1;
}
bool can_write(void* at) {
    const char byte = *static_cast<const char*>(at);
    if (write(scratch_pipe[1], &byte, 1) != 1)
        return false;
    if (read(scratch_pipe[0], at, 1) == 1)
        return true;
    char rest;
    return read(scratch_pipe[0], &rest, 1) == 1 && false;
}

enum class Access { none, read, write };

int protection(Access access) {
    return access == Access::none   ? PROT_NONE
           : access == Access::read ? PROT_READ
                                    : PROT_READ | PROT_WRITE;
}

/// One page of the backing file, seen privately; `value` is what its second word must be.
struct Mapping {
    std::uint64_t* at;
    std::size_t source;
    std::uint64_t value;
    Access access;
};

class Process {
public:
    Process(unsigned number, std::size_t count) : random(number + 1) {
        arena = static_cast<char*>(mmap(nullptr, (count + 1) * stride, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        expect(arena != MAP_FAILED, "room for the mappings");
        for (std::size_t n = 0; n < count; ++n)
            mappings.push_back(map(arena + n * stride));
        spare = arena + count * stride;
    }

    void round(std::size_t changes) {
        for (std::size_t n = 0; n < changes && failures == 0; ++n)
            change(mappings[random() % mappings.size()]);
    }

    void verify() {
        for (Mapping& mapping : mappings)
            verify(mapping);
    }

    /// A child shares every page until one of the two writes.
    void fork_and_change(std::size_t changes) {
        const int status = in_child([&] {
            round(changes);
            verify();
        });
        if (status != 0)
            fail("a child ended with status %x", status);
    }

private:
    Mapping map(char* at) {
        const std::size_t source = random() % shared_pages;
        void* got = mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, backing,
                         static_cast<off_t>(source * page));
        if (got == MAP_FAILED)
            fail("mmap: %s", std::strerror(errno));
        return {reinterpret_cast<std::uint64_t*>(at), source, 0, Access::write};
    }

    void verify(const Mapping& mapping) {
        if (can_read(mapping.at) != (mapping.access != Access::none))
            return fail("a mapping can%s be read", mapping.access == Access::none ? "" : "not");
        if (mapping.access == Access::none)
            return;
        if (mapping.at[0] != stamp(mapping.source) || mapping.at[1] != mapping.value)
            return fail("a page holds %lx %lx, not %lx %lx", mapping.at[0], mapping.at[1],
                        stamp(mapping.source), mapping.value);
        if (can_write(mapping.at) != (mapping.access == Access::write))
            fail("a mapping can%s be written", mapping.access == Access::write ? "not" : "");
    }

    void change(Mapping& mapping) {
        verify(mapping);
        switch (random() % 5) {
        case 0:
            mapping = map(reinterpret_cast<char*>(mapping.at));
            break;
        case 1:
            mapping.access = static_cast<Access>(random() % 3);
            if (mprotect(mapping.at, page, protection(mapping.access)) != 0)
                fail("mprotect: %s", std::strerror(errno));
            break;
        case 2:
            move(mapping);
            break;
        default:
            if (mapping.access == Access::write)
                mapping.at[1] = mapping.value = random();
        }
    }

    /// To the free place; its own becomes free.
    void move(Mapping& mapping) {
        char* const old = reinterpret_cast<char*>(mapping.at);
        if (mremap(old, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, spare) != spare)
            return fail("mremap: %s", std::strerror(errno));
        if (mmap(old, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                 0) != old)
            fail("the old place: %s", std::strerror(errno));
        mapping.at = reinterpret_cast<std::uint64_t*>(spare);
        spare = old;
    }

    std::minstd_rand random;
    char* arena = nullptr;
    char* spare = nullptr;
    std::vector<Mapping> mappings;
};

/// A range of 16 MiB, of which the kernel moves and protects whole page tables at once.
void wide(unsigned rounds) {
    constexpr std::size_t size = wide_pages * page;
    auto* at = static_cast<std::uint64_t*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (reinterpret_cast<void*>(at) == MAP_FAILED)
        return fail("a wide range: %s", std::strerror(errno));
    for (std::size_t n = 0; n < wide_pages; ++n)
        at[n * page / 8] = stamp(n);
    for (unsigned round = 0; round < rounds; ++round) {
        auto* target = static_cast<char*>(
            mmap(nullptr, size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        const bool shifted = round % 2 != 0; // else page tables move as they are
        char* place = target + (shifted ? page : 0);
        if (mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
            return fail("mremap of a wide range: %s", std::strerror(errno));
        munmap(shifted ? target : target + size, page);
        at = reinterpret_cast<std::uint64_t*>(place);
        mprotect(at, size, PROT_READ);
        if (can_write(at) || can_write(at + size / 16))
            fail("a wide range without write permission can be written");
        const int status = in_child([&] {
            mprotect(at, size, PROT_READ | PROT_WRITE);
            for (std::size_t n = 0; n < wide_pages; n += 3)
                at[n * page / 8] = 0;
        });
        expect(status == 0, "a child writes a wide range");
        for (std::size_t n = 0; n < wide_pages; ++n)
            if (at[n * page / 8] != stamp(n))
                return fail("page %zu of a wide range changed", n);
        mprotect(at, size, PROT_READ | PROT_WRITE);
    }
    munmap(at, size);
}

/// Children that end at once, as many as fit: address spaces are built, pinned, unpinned, freed.
void storm(unsigned children) {
    std::vector<pid_t> running;
    for (unsigned n = 0; n < children; ++n) {
        const pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child < 0) {
            fail("fork: %s", std::strerror(errno));
            break;
        }
        running.push_back(child);
    }
    for (const pid_t child : running) {
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("a child of the storm ended with status %x", status);
    }
}

void one_process(unsigned number, std::size_t count, unsigned rounds, int ready, int go) {
    if (pipe(scratch_pipe) != 0)
        fail("pipe");
    Process process(number, count);
    process.verify();
    char byte = 'x';
    if (write(ready, &byte, 1) != 1 || close(ready) != 0 || read(go, &byte, 1) != 0)
        fail("the start"); // all have their mappings: `go` was closed
    for (unsigned round = 0; round < rounds && failures == 0; ++round) {
        process.round(count / 4);
        process.fork_and_change(count / 16);
        if (number % 16 == 0)
            wide(2), storm(16);
        process.verify();
    }
}

std::size_t page_tables_kib() {
    std::ifstream file{"/proc/meminfo"};
    std::string word;
    std::size_t kib = 0;
    while (file >> word)
        if (word == "PageTables:")
            file >> kib;
    return kib;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: mappings PROCESSES MAPPINGS ROUNDS\n", stderr);
        return 2;
    }
    const unsigned processes = static_cast<unsigned>(std::atoi(argv[1]));
    const std::size_t count = std::strtoul(argv[2], nullptr, 10);
    const unsigned rounds = static_cast<unsigned>(std::atoi(argv[3]));
    backing = memfd_create("backing", 0);
    expect(ftruncate(backing, shared_pages * page) == 0, "the backing file");
    for (std::size_t n = 0; n < shared_pages; ++n) {
        const std::uint64_t value = stamp(n);
        expect(pwrite(backing, &value, sizeof value, static_cast<off_t>(n * page)) == sizeof value,
               "the backing file's stamp");
    }
    int ready[2], go[2];
    if (pipe(ready) != 0 || pipe(go) != 0)
        return 1;
    std::vector<pid_t> running;
    for (unsigned n = 0; n < processes; ++n) {
        const pid_t child = fork();
        if (child == 0) {
            close(go[1]), close(ready[0]);
            one_process(n, count, rounds, ready[1], go[0]);
            std::fflush(stdout);
            _exit(failures != 0);
        }
        if (child < 0)
            fail("fork: %s", std::strerror(errno));
        else
            running.push_back(child);
    }
    close(ready[1]); // so that the loss of a process is the end of the file
    char byte;
    for (std::size_t n = 0; n < running.size(); ++n)
        if (read(ready[0], &byte, 1) != 1)
            fail("a process did not get its mappings");
    std::printf("%zu processes with %zu mappings each, %zu MiB of page tables\n", running.size(),
                count, page_tables_kib() / 1024);
    std::fflush(stdout);
    close(go[1]);
    for (const pid_t child : running) {
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("a process ended with status %x", status);
    }
    return finish("mappings");
}
