// SPDX-License-Identifier: BSD-2-Clause
// A 32-bit program on the 64-bit kernel: both ways into it, signals, threads, segments,
// single-step, floating point.
#include "check.hpp"

#include <asm/ldt.h>
#include <cerrno>
#include <csignal>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

namespace {

using namespace test;

std::uint32_t entry; ///< the vDSO's __kernel_vsyscall: SYSENTER, SYSCALL or INT 0x80

struct Result {
    long value;
    std::uint32_t ebx, esi, edi, ebp;
};
Result by_vdso(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
               long f = 0) {
    const long arguments[] = {a, b, c, d, e, f, number};
    Result r{};
    __asm__ volatile(
        "pushl %%ebp\n\tpushl %%ebx\n\tpushl %1\n\t" // keep, and the place of the results
        "movl %0, %%eax\n\t"
        "movl (%%eax), %%ebx\n\tmovl 4(%%eax), %%ecx\n\tmovl 8(%%eax), %%edx\n\t"
        "movl 12(%%eax), %%esi\n\tmovl 16(%%eax), %%edi\n\tmovl 20(%%eax), %%ebp\n\t"
        "movl 24(%%eax), %%eax\n\t"
        "call *entry_32\n\t"
        "popl %%ecx\n\t"
        "movl %%eax, (%%ecx)\n\tmovl %%ebx, 4(%%ecx)\n\tmovl %%esi, 8(%%ecx)\n\t"
        "movl %%edi, 12(%%ecx)\n\tmovl %%ebp, 16(%%ecx)\n\t"
        "popl %%ebx\n\tpopl %%ebp"
        :
        : "r"(arguments), "r"(&r)
        : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    return r;
}

long by_interrupt(long number, long a = 0, long b = 0, long c = 0) {
    long value;
    __asm__ volatile("int $0x80" : "=a"(value) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return value;
}

void system_calls() {
    const pid_t pid = getpid();
    for (unsigned n = 0; n < 2000; ++n) {
        if (by_interrupt(SYS_getpid) != pid)
            return fail("getpid by int 0x80");
        const Result r = by_vdso(SYS_getpid, 11, 12, 13, 14, 15, 16);
        if (r.value != pid)
            return fail("getpid by the vDSO: %ld", r.value);
        if (r.ebx != 11 || r.esi != 14 || r.edi != 15 || r.ebp != 16)
            return fail("registers after it: %u %u %u %u", r.ebx, r.esi, r.edi, r.ebp);
    }
    // Six arguments.
    const Result map =
        by_vdso(SYS_mmap2, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto* page = reinterpret_cast<volatile char*>(map.value);
    if (map.value == -1 || signal_of([&] { page[8191] = 1; }).signal != 0)
        fail("mmap2 by the vDSO: %lx", map.value);
    expect(by_vdso(SYS_munmap, map.value, 8192).value == 0, "munmap by the vDSO");
    expect(by_vdso(SYS_close, 77).value == -EBADF, "an error by the vDSO");
    expect(by_interrupt(9999) == -ENOSYS, "an unknown call by int 0x80");
}

void faults() {
    const auto gives = [](const char* what, int signal, auto&& body) {
        const Caught got = signal_of(body);
        if (got.signal != signal)
            fail("%s: signal %d, expected %d", what, got.signal, signal);
    };
    gives("a division by zero", SIGFPE, [] {
        __asm__ volatile("div %0" : : "r"(0), "a"(1), "d"(0));
    });
    gives("a null pointer", SIGSEGV, [] { *reinterpret_cast<volatile char*>(4) = 1; });
    gives("ud2", SIGILL, [] { __asm__ volatile("ud2"); });
    gives("int3", SIGTRAP, [] { __asm__ volatile("int3"); });
    gives("into", SIGSEGV, [] {
        __asm__ volatile("movb $0x7f, %%al; addb $1, %%al; into" : : : "eax", "cc");
    });
    gives("bound", SIGSEGV, [] {
        const int limits[] = {1, 2};
        __asm__ volatile("bound %0, %1" : : "r"(9), "m"(limits));
    });
    gives("hlt", SIGSEGV, [] { __asm__ volatile("hlt"); });
    gives("in", SIGSEGV, [] { __asm__ volatile("inb $0x80, %%al" : : : "eax"); });
}

volatile int seen;
void on_signal(int signal, siginfo_t* info, void*) {
    seen = seen + 1;
    volatile long double mess = 3.5L;
    mess = mess * signal;
    by_vdso(SYS_getpid);
    if (info->si_signo != signal)
        fail("siginfo of signal %d", signal);
}

void signals() {
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGALRM, &action, nullptr);
    ualarm(1000, 1000);
    double sum = 0;
    for (unsigned n = 0; n < 4'000'000; ++n)
        sum += 1.0;
    for (unsigned n = 0; n < 500; ++n)
        by_vdso(SYS_kill, getpid(), SIGUSR1);
    ualarm(0, 0);
    if (sum != 4'000'000)
        fail("a sum under signals: %f", sum);
    if (seen < 500)
        fail("%d signals arrived", seen);
    // An interrupted call goes on.
    int pipes[2];
    if (pipe(pipes) != 0)
        return fail("pipe");
    const pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        kill(getppid(), SIGUSR1);
        usleep(50000);
        _exit(write(pipes[1], "y", 1) != 1);
    }
    char byte = 0;
    if (by_vdso(SYS_read, pipes[0], reinterpret_cast<long>(&byte), 1).value != 1 || byte != 'y')
        fail("a restarted read");
    waitpid(child, nullptr, 0);
}

/// Thread-local data is behind a descriptor of the GDT that each thread has of its own.
thread_local unsigned own;
void* count(void* argument) {
    const auto start = reinterpret_cast<std::uintptr_t>(argument);
    own = start;
    long double x = start + 0.5L;
    for (unsigned n = 0; n < 3000; ++n) {
        own = own + 1;
        x += 1.0L;
        if (by_vdso(SYS_sched_yield).value != 0)
            fail("sched_yield in a thread");
        if (own != start + n + 1)
            fail("a thread's own data: %u", own);
    }
    if (x != start + 3000.5L)
        fail("a thread's floating point");
    return nullptr;
}
void threads() {
    pthread_t all[6];
    for (std::uintptr_t n = 0; n < 6; ++n)
        pthread_create(&all[n], nullptr, count, reinterpret_cast<void*>(n * 1000));
    for (const pthread_t thread : all)
        pthread_join(thread, nullptr);
}

void segments() {
    static std::uint32_t value = 0x1234;
    user_desc area{};
    area.entry_number = ~0u;
    area.base_addr = reinterpret_cast<std::uintptr_t>(&value);
    area.limit = 0xfff;
    area.seg_32bit = 1;
    area.useable = 1;
    if (syscall(SYS_set_thread_area, &area) != 0)
        return fail("set_thread_area: errno %d", errno);
    const auto selector = static_cast<std::uint16_t>(area.entry_number << 3 | 3);
    for (unsigned n = 0; n < 500; ++n) {
        std::uint32_t got;
        __asm__ volatile("movw %1, %%fs; movl %%fs:0, %0" : "=r"(got) : "r"(selector));
        if (got != value)
            return fail("by set_thread_area's descriptor: %x", got);
        by_vdso(SYS_sched_yield);
        __asm__ volatile("movl %%fs:0, %0" : "=r"(got));
        if (got != value)
            return fail("and after a system call: %x", got);
    }
    if (is_emulated())
        return;
    const Caught got = signal_of([] { __asm__ volatile("movl %%fs:0x2000, %%eax" : : : "eax"); });
    if (got.signal != SIGSEGV)
        fail("beyond the descriptor's limit: signal %d", got.signal);
}

/// Single-step through both kinds of system call.
void single_step() {
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        by_vdso(SYS_getpid);
        by_interrupt(SYS_getpid);
        _exit(by_vdso(SYS_getpid).value == getpid() ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    unsigned steps = 0;
    for (; steps < 20000 && WIFSTOPPED(status); ++steps) {
        if (steps > 0 && WSTOPSIG(status) != SIGTRAP)
            break;
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        waitpid(child, &status, 0);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("single-step: status %x after %u steps", status, steps);
    if (steps < 50)
        fail("single-step: %u steps only", steps);
}

} // namespace

extern "C" std::uint32_t entry_32;
std::uint32_t entry_32;

int main() {
    entry = entry_32 = getauxval(AT_SYSINFO);
    if (entry == 0)
        fail("no __kernel_vsyscall");
    const auto* code = reinterpret_cast<const unsigned char*>(entry);
    const char* way = "int 0x80";
    for (unsigned n = 0; n < 16; ++n) {
        if (code[n] == 0x0f && code[n + 1] == 0x34)
            way = "sysenter";
        if (code[n] == 0x0f && code[n + 1] == 0x05)
            way = "syscall";
    }
    std::printf("compat: __kernel_vsyscall uses %s\n", way);
    system_calls();
    faults();
    signals();
    threads();
    segments();
    single_step();
    return finish("compat");
}
