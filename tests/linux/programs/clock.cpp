// SPDX-License-Identifier: BSD-2-Clause
// Clocks. `clock pair`: wall clock, monotonic clock and TSC at one instant, to compare domains
// with. `clock boot`: the same with the clock since boot and that of the kernel's log. `clock
// check`: the vDSO answers without a system call, and no CPU's clock is behind another's.
#include "check.hpp"

#include <atomic>
#include <cstddef>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace {

using namespace test;

std::uint64_t read_tsc() {
    std::uint32_t low, high;
    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
    return std::uint64_t{high} << 32 | low;
}

/// The readings that lie closest together of many.
void print_pair() {
    std::uint64_t narrowest = ~0ull, tsc = 0, wall = 0, monotonic = 0;
    for (unsigned n = 0; n < 200; ++n) {
        const std::uint64_t before = read_tsc();
        const std::uint64_t real = now_ns(CLOCK_REALTIME), mono = now_ns(CLOCK_MONOTONIC);
        const std::uint64_t width = read_tsc() - before;
        if (width >= narrowest)
            continue;
        narrowest = width, tsc = before + width / 2, wall = real, monotonic = mono;
    }
    std::printf("pair %lu %lu %lu\n", wall, monotonic, tsc);
}

/// The kernel's log has its own clock, which counts from boot on whatever ticks are lost.
std::uint64_t log_clock() {
    const int log = open("/dev/kmsg", O_RDWR | O_NONBLOCK);
    lseek(log, 0, SEEK_END);
    constexpr char text[] = "clock boot\n"; // without the end of line, the record would wait
    char record[256] = {};
    unsigned long microseconds = 0;
    if (write(log, text, sizeof text - 1) < 0 || read(log, record, sizeof record - 1) <= 0 ||
        std::sscanf(record, "%*u,%*u,%lu", &microseconds) != 1)
        fail("the kernel's log: %s", std::strerror(errno));
    close(log);
    return microseconds * 1000;
}

/// All readings lie within half a millisecond.
void print_boot() {
    for (unsigned tries = 0; tries < 100 && failures == 0; ++tries) {
        const std::uint64_t begin = read_tsc(), before = now_ns(CLOCK_BOOTTIME);
        const std::uint64_t real = now_ns(CLOCK_REALTIME), log = log_clock();
        const std::uint64_t after = now_ns(CLOCK_BOOTTIME), end = read_tsc();
        if (after - before > 500'000)
            continue;
        std::printf("boot %lu %lu %lu %lu\n", real, before, log, begin + (end - begin) / 2);
        return;
    }
    if (failures == 0)
        fail("the readings lie too far apart");
}

/// With the system call forbidden, the clock can still be read.
void vdso() {
    const int status = in_child([] {
        sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const sock_fprog program{sizeof code / sizeof code[0], code};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            return fail("seccomp: errno %d", errno);
        timespec time;
        if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time) == 0)
            fail("the filter lets the call pass");
        constexpr clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME};
        for (const clockid_t clock : clocks)
            if (clock_gettime(clock, &time) != 0)
                fail("clock %d: the vDSO makes a system call", clock);
    });
    if (status != 0)
        fail("clocks by the vDSO: status %x", status);
}

std::atomic<std::uint64_t> latest;
std::atomic<unsigned> running;
std::uint64_t until;

void* compare(void* argument) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<int>(reinterpret_cast<std::uintptr_t>(argument)), &one);
    sched_setaffinity(0, sizeof one, &one);
    std::uint64_t now = 0;
    do {
        std::uint64_t before = latest.load();
        now = now_ns();
        if (now < before) {
            fail("CPU %lu is %lu ns behind another", reinterpret_cast<std::uintptr_t>(argument),
                 before - now);
            return nullptr;
        }
        while (before < now && !latest.compare_exchange_weak(before, now)) {
        }
    } while (now < until);
    return nullptr;
}

void all_cpus() {
    until = now_ns() + 3'000'000'000;
    pthread_t threads[16];
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN) < 16 ? sysconf(_SC_NPROCESSORS_ONLN) : 16;
    for (long n = 0; n < cpus; ++n)
        pthread_create(&threads[n], nullptr, compare, reinterpret_cast<void*>(n));
    for (long n = 0; n < cpus; ++n)
        pthread_join(threads[n], nullptr);
}

} // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "pair") == 0) {
        print_pair();
        return 0;
    }
    if (argc > 1 && std::strcmp(argv[1], "boot") == 0) {
        print_boot();
        return finish("clock");
    }
    vdso();
    all_cpus();
    return finish("clock");
}
