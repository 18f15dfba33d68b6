// SPDX-License-Identifier: BSD-2-Clause
// What system calls, page tables and processes cost.
#include "harness.hpp"

#include <fcntl.h>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr std::size_t page = 4096;

char* map_pages(std::size_t count) {
    void* const area =
        mmap(nullptr, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        fail("mmap");
    madvise(area, count * page, MADV_NOHUGEPAGE);
    return static_cast<char*>(area);
}

void touch(char* area, std::size_t count) {
    for (std::size_t n = 0; n < count; ++n)
        *const_cast<volatile char*>(area + n * page) = 1;
}

/// Faults and unmapping are timed apart, over the same pages.
void memory_rows() {
    constexpr std::size_t count = 256;
    std::uint64_t fault = UINT64_MAX, unmap = UINT64_MAX;
    for (int batch = 0; batch < 51; ++batch) {
        char* const area = map_pages(count);
        const std::uint64_t start = ticks();
        touch(area, count);
        const std::uint64_t touched = ticks();
        munmap(area, count * page);
        const std::uint64_t gone = ticks();
        if (touched - start < fault)
            fault = touched - start;
        if (gone - touched < unmap)
            unmap = gone - touched;
    }
    record("page_fault", fault / count);
    record("munmap_page", unmap / count);

    char* const area = map_pages(64);
    touch(area, 64);
    measure("mprotect_64", 51, 4, [&] {
        if (mprotect(area, 64 * page, PROT_READ) != 0)
            fail("mprotect");
        if (mprotect(area, 64 * page, PROT_READ | PROT_WRITE) != 0)
            fail("mprotect");
    });
    munmap(area, 64 * page);
    measure("mmap_munmap_1m", 51, 4, [] { munmap(map_pages(256), 256 * page); });
    measure("mmap_touch_munmap_1m", 51, 2, [] {
        char* const pages = map_pages(256);
        touch(pages, 256);
        munmap(pages, 256 * page);
    });
}

void process_rows(const char* self) {
    measure("fork_exit", 31, 4, [] {
        const pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (waitpid(child, nullptr, 0) != child)
            fail("fork");
    });
    measure("fork_exec", 31, 2, [self] {
        const pid_t child = fork();
        if (child == 0) {
            execl(self, self, "nothing", nullptr);
            _exit(1);
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("exec");
    });
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0)
        fail("pipe");
    const pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
        }
        _exit(0);
    }
    measure("pipe_round_trip", 51, 32, [&] {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            fail("pipe");
    });
    for (const int end : {there[0], there[1], back[0], back[1]})
        close(end);
    waitpid(child, nullptr, 0);
}

} // namespace

void cpu_rows(const char* self) {
    measure("null_syscall", 51, 256, [] { syscall(SYS_getppid); });
    const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    char byte;
    measure("read_zero", 51, 256, [&] {
        if (read(zero, &byte, 1) != 1)
            fail("/dev/zero");
    });
    close(zero);
    memory_rows();
    process_rows(self);
}

} // namespace bench
