// SPDX-License-Identifier: BSD-2-Clause
// What the programs of the Linux tests share: failures, children, signals caught in the middle of
// an instruction.
#pragma once

#include <cerrno>
#include <cpuid.h>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace test {

inline int failures = 0;

/// Notes a failure; the program ends with status 1.
__attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    std::fputs("FAIL: ", stdout);
    std::vprintf(format, arguments);
    std::putchar('\n');
    std::fflush(stdout);
    va_end(arguments);
    ++failures;
}

inline void expect(bool good, const char* what) {
    if (!good)
        fail("%s", what);
}

inline std::uint64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(time.tv_nsec);
}

/// Runs `body` in a child; its wait status.
template <typename Body>
int in_child(Body&& body) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        failures = 0;
        body();
        std::fflush(stdout);
        _exit(failures != 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

/// QEMU's interpreter, which has no #XM, no ICEBP and no segment limits.
inline bool is_emulated() {
    unsigned words[4];
    __cpuid(0x80000002, words[0], words[1], words[2], words[3]);
    return std::memcmp(words, "QEMU TCG", 8) == 0;
}

struct Caught {
    int signal{};
    int code{};
    std::uintptr_t address{};
};
inline Caught caught;
inline sigjmp_buf way_out;

inline void catcher(int signal, siginfo_t* info, void*) {
    caught = {signal, info->si_code, reinterpret_cast<std::uintptr_t>(info->si_addr)};
    siglongjmp(way_out, 1);
}

/// The signal that ends `body`; 0 = none.
template <typename Body>
Caught signal_of(Body&& body) {
    struct sigaction action {};
    action.sa_sigaction = catcher;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    constexpr int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (const int signal : signals)
        sigaction(signal, &action, nullptr);
    caught = {};
    if (sigsetjmp(way_out, 1) == 0)
        body();
    for (const int signal : signals)
        std::signal(signal, SIG_DFL);
    return caught;
}

inline int finish(const char* name) {
    std::printf("%s: %s\n", name, failures == 0 ? "ok" : "FAILED");
    return failures == 0 ? 0 : 1;
}

} // namespace test
