// SPDX-License-Identifier: BSD-2-Clause
// wakeups SECONDS LIMIT_MS: sleepers that must wake in time, and pairs that wake each other by
// futex and by pipe across CPUs. A wake-up that is lost, or a timer that is late, shows as the
// worst wait.
#include "check.hpp"

#include <atomic>
#include <climits>
#include <initializer_list>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

namespace {

using namespace test;

std::uint64_t until;
std::atomic<std::uint64_t> worst_sleep, worst_futex, worst_pipe;
std::atomic<std::uint64_t> sleeps, futex_turns, pipe_turns;

void note(std::atomic<std::uint64_t>& worst, std::uint64_t value) {
    std::uint64_t before = worst.load();
    while (before < value && !worst.compare_exchange_weak(before, value)) {
    }
}

void run_on(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu % static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN)), &one);
    sched_setaffinity(0, sizeof one, &one);
}

void* sleep_often(void* argument) {
    std::uint64_t seed = reinterpret_cast<std::uintptr_t>(argument) * 7919 + 3;
    while (now_ns() < until) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        const std::uint64_t end = now_ns() + 100'000 + seed % 60'000'000;
        const timespec at{static_cast<time_t>(end / 1'000'000'000),
                          static_cast<long>(end % 1'000'000'000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
        const std::uint64_t now = now_ns();
        if (now < end)
            fail("woken %lu ns early", end - now);
        note(worst_sleep, now - end);
        ++sleeps;
    }
    return nullptr;
}

/// Two threads on two CPUs that hand a turn to each other.
struct Pair {
    std::atomic<int> turn{0};
    int there[2], back[2];
    unsigned cpu;
};

void futex_side(Pair& pair, int me) {
    run_on(pair.cpu + static_cast<unsigned>(me));
    while (now_ns() < until) {
        const std::uint64_t begin = now_ns();
        while (pair.turn.load() != me && now_ns() < until) {
            const timespec limit{5, 0}; // a lost wake-up shows as a wait of five seconds
            syscall(SYS_futex, &pair.turn, FUTEX_WAIT_PRIVATE, 1 - me, &limit, nullptr, 0);
        }
        note(worst_futex, now_ns() - begin);
        pair.turn = 1 - me;
        syscall(SYS_futex, &pair.turn, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
        ++futex_turns;
    }
    pair.turn = 1 - me;
    syscall(SYS_futex, &pair.turn, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}
void* futex_left(void* pair) {
    return futex_side(*static_cast<Pair*>(pair), 0), nullptr;
}
void* futex_right(void* pair) {
    return futex_side(*static_cast<Pair*>(pair), 1), nullptr;
}

void* pipe_left(void* argument) {
    Pair& pair = *static_cast<Pair*>(argument);
    run_on(pair.cpu);
    char byte = 'x';
    while (now_ns() < until) {
        const std::uint64_t begin = now_ns();
        if (write(pair.there[1], &byte, 1) != 1 || read(pair.back[0], &byte, 1) != 1)
            fail("pipe");
        note(worst_pipe, now_ns() - begin);
        ++pipe_turns;
    }
    close(pair.there[1]);
    return nullptr;
}
void* pipe_right(void* argument) {
    Pair& pair = *static_cast<Pair*>(argument);
    run_on(pair.cpu + 1);
    char byte;
    while (read(pair.there[0], &byte, 1) == 1)
        if (write(pair.back[1], &byte, 1) != 1)
            break;
    return nullptr;
}

} // namespace

int main(int argc, char** argv) {
    const unsigned seconds = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 10;
    const unsigned limit_ms = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1000;
    until = now_ns() + seconds * 1'000'000'000ull;
    constexpr unsigned sleepers = 24, pairs = 4;
    static Pair pair[pairs];
    pthread_t threads[sleepers + 4 * pairs];
    unsigned count = 0;
    const auto start = [&](void* (*body)(void*), void* argument) {
        if (pthread_create(&threads[count++], nullptr, body, argument) != 0)
            fail("no thread");
    };
    for (std::uintptr_t n = 0; n < sleepers; ++n)
        start(sleep_often, reinterpret_cast<void*>(n));
    for (unsigned n = 0; n < pairs; ++n) {
        pair[n].cpu = n;
        if (pipe(pair[n].there) != 0 || pipe(pair[n].back) != 0)
            fail("pipe");
        for (const auto body : {futex_left, futex_right, pipe_left, pipe_right})
            start(body, &pair[n]);
    }
    for (unsigned n = 0; n < count; ++n)
        pthread_join(threads[n], nullptr);
    std::printf("wakeups: worst of %lu sleeps %.1f ms late, of %lu futex turns %.1f ms, of %lu "
                "pipe turns %.1f ms\n",
                sleeps.load(), static_cast<double>(worst_sleep) / 1e6, futex_turns.load(),
                static_cast<double>(worst_futex) / 1e6, pipe_turns.load(),
                static_cast<double>(worst_pipe) / 1e6);
    for (const auto* worst : {&worst_sleep, &worst_futex, &worst_pipe})
        if (*worst > limit_ms * 1'000'000ull)
            fail("a wait above %u ms", limit_ms);
    return finish("wakeups");
}
