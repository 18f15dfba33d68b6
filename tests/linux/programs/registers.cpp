// SPDX-License-Identifier: BSD-2-Clause
// Every register of every process stays its own: x87, SSE, AVX, MXCSR, control words and general
// registers, held over system calls, preemption, signals and migration by many threads of many
// processes.
#include "check.hpp"

#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>

extern "C" void hold(const void* load, void* store, long rounds, long call, unsigned mask,
                     unsigned long* gprs);

namespace {

using namespace test;

struct alignas(64) State {
    unsigned char bytes[1024];
    template <typename T>
    T& at(unsigned offset) {
        return *reinterpret_cast<T*>(bytes + offset);
    }
};
// Offsets in the XSAVE area [SDM1 "XSAVE Area"].
constexpr unsigned fcw = 0, ftw = 4, mxcsr = 24, st0 = 32, xmm0 = 160, header = 512, ymm_high = 576;

unsigned mask = 3;

std::uint64_t next(std::uint64_t& seed) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

void fill(State& state, std::uint64_t seed) {
    std::memset(&state, 0, sizeof state);
    constexpr std::uint16_t rounding[] = {0x37f, 0x77f, 0xb7f, 0xf7f, 0x27f};
    state.at<std::uint16_t>(fcw) = rounding[seed % 5];
    state.at<std::uint8_t>(ftw) = 0xff;
    state.at<std::uint32_t>(mxcsr) =
        0x1f80u | static_cast<std::uint32_t>(seed % 4) << 13 | (seed >> 8 & 0x8000u);
    for (unsigned n = 0; n < 8; ++n) {
        state.at<std::uint64_t>(st0 + n * 16) = next(seed) | 1ull << 63; // a normal number
        state.at<std::uint16_t>(st0 + n * 16 + 8) =
            static_cast<std::uint16_t>(0x3ff0 + (next(seed) & 15));
    }
    for (unsigned n = 0; n < 32; ++n)
        state.at<std::uint64_t>(xmm0 + n * 8) = next(seed);
    state.at<std::uint64_t>(header) = mask;
    if ((mask & 4) != 0)
        for (unsigned n = 0; n < 32; ++n)
            state.at<std::uint64_t>(ymm_high + n * 8) = next(seed);
}

bool same(State& a, State& b, unsigned from, unsigned bytes, const char* what, std::uint64_t seed) {
    if (std::memcmp(a.bytes + from, b.bytes + from, bytes) == 0)
        return true;
    for (unsigned n = from; n < from + bytes; ++n)
        if (a.bytes[n] != b.bytes[n]) {
            fail("%s of seed %lx changed: byte %u is %02x, was %02x", what, seed, n - from,
                 b.bytes[n], a.bytes[n]);
            break;
        }
    return false;
}

/// One round of holding; false when something changed.
bool round(std::uint64_t seed, long call, long rounds) {
    State in, out;
    fill(in, seed);
    std::memset(&out, 0xcc, sizeof out);
    std::memset(out.bytes + header, 0, 64);
    unsigned long gprs[8], kept[8];
    for (unsigned n = 0; n < 8; ++n)
        kept[n] = gprs[n] = seed * (n + 3);
    hold(&in, &out, rounds, call, mask, gprs);
    bool good = same(in, out, fcw, 2, "the x87 control word", seed) &&
                same(in, out, ftw, 1, "the x87 tag word", seed) &&
                same(in, out, mxcsr, 4, "MXCSR", seed) &&
                same(in, out, xmm0, 256, "an XMM register", seed);
    for (unsigned n = 0; n < 8; ++n)
        good = good && same(in, out, st0 + n * 16, 10, "an x87 register", seed);
    if ((mask & 4) != 0)
        good = good && same(in, out, ymm_high, 256, "an upper half of a YMM register", seed);
    if (out.at<std::uint64_t>(header) != mask)
        fail("XSTATE_BV is %lx", out.at<std::uint64_t>(header)), good = false;
    if (std::memcmp(gprs, kept, sizeof gprs) != 0)
        fail("a general register of seed %lx changed", seed), good = false;
    return good;
}

volatile double sink;
/// Leaves other values in everything.
void on_alarm(int) {
    State state;
    fill(state, static_cast<std::uint64_t>(getpid()) * 77777 + 5);
    __asm__ volatile("xrstor64 %0" : : "m"(state), "a"(mask), "d"(0) : "memory");
    __asm__ volatile("fninit");
    sink = 1.0;
}

struct Job {
    std::uint64_t seed;
    std::uint64_t until;
};

void* work(void* argument) {
    auto [seed, until] = *static_cast<Job*>(argument);
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    while (now_ns() < until && failures == 0) {
        const std::uint64_t choice = next(seed) % 8;
        if (choice == 0) { // to another CPU
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(next(seed) % static_cast<unsigned>(CPU_COUNT(&all)), &one);
            sched_setaffinity(0, sizeof one, &one);
            sched_setaffinity(0, sizeof all, &all);
        }
        const long call = choice < 3 ? -1 : choice < 6 ? SYS_sched_yield : SYS_getpid;
        if (!round(next(seed) | 1, call, call < 0 ? 500 : 200))
            break;
    }
    return nullptr;
}

void process(unsigned number, std::uint64_t until) {
    struct sigaction action {};
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval every{{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &every, nullptr);
    Job jobs[2] = {{number * 1000003ull + 17, until}, {number * 7919ull + 23, until}};
    pthread_t other;
    pthread_create(&other, nullptr, work, &jobs[1]);
    work(&jobs[0]);
    pthread_join(other, nullptr);
}

} // namespace

int main(int argc, char** argv) {
    const unsigned seconds = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 10;
    const unsigned processes = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 6;
    unsigned eax, ebx, ecx, edx;
    __cpuid(1, eax, ebx, ecx, edx);
    if ((ecx >> 27 & 1) == 0) {
        std::puts("registers: no XSAVE, nothing to try");
        return 2;
    }
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    mask = low & 7;
    std::printf("registers: XCR0 %x, %u processes for %u s\n", low, processes, seconds);
    std::fflush(stdout);
    const std::uint64_t until = now_ns() + seconds * 1'000'000'000ull;
    for (unsigned n = 0; n < processes; ++n)
        if (fork() == 0) {
            process(n + 1 + static_cast<unsigned>(getpid()) * 64, until);
            _exit(failures != 0);
        }
    for (unsigned n = 0; n < processes; ++n) {
        int status = 0;
        wait(&status);
        if (status != 0)
            fail("a process ended with status %x", status);
    }
    return finish("registers");
}
