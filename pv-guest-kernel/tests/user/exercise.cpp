// SPDX-License-Identifier: BSD-2-Clause
// A program for the PV kernel (and for Linux, which must agree): exercises processes, memory,
// signals, threads and time through ordinary library calls. Prints one line per case; the exit
// status is the number of failures.
#include <atomic>
#include <cerrno>
#include <cmath>
#include <condition_variable>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern char** environ;

namespace {

int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::printf("  line %d: %s (errno %d)\n", __LINE__, #condition, errno);                \
            return false;                                                                          \
        }                                                                                          \
    } while (false)

int wait_status(pid_t pid) {
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

bool fork_copies_on_write() {
    std::vector<int> data(100'000, 7);
    for (int round = 0; round < 20; ++round) {
        const pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int& value : data)
                value += round;
            long sum = 0;
            for (const int value : data)
                sum += value;
            _exit(sum == 100'000L * (7 + round) ? 42 : 1);
        }
        data[static_cast<std::size_t>(round)] = 7; // the parent writes too
        CHECK(wait_status(pid) == 42 << 8);
    }
    for (const int value : data)
        CHECK(value == 7);
    return true;
}

bool many_children() {
    for (int round = 0; round < 5; ++round) {
        std::vector<pid_t> children;
        for (int i = 0; i < 40; ++i) {
            const pid_t pid = fork();
            CHECK(pid >= 0);
            if (pid == 0)
                _exit(i);
            children.push_back(pid);
        }
        for (std::size_t i = 0; i < children.size(); ++i)
            CHECK(wait_status(children[i]) == static_cast<int>(i) << 8);
    }
    CHECK(waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
    return true;
}

bool spawn_runs_programs() {
    for (int i = 0; i < 10; ++i) {
        char program[] = "/bin/busybox";
        char applet[] = "true";
        char* arguments[] = {program, applet, nullptr};
        pid_t pid;
        CHECK(posix_spawn(&pid, program, nullptr, nullptr, arguments, environ) == 0);
        CHECK(wait_status(pid) == 0);
    }
    char missing[] = "/no/such/program";
    char* arguments[] = {missing, nullptr};
    pid_t pid;
    CHECK(posix_spawn(&pid, missing, nullptr, nullptr, arguments, environ) == ENOENT);
    return true;
}

bool files_of_a_process_that_went() {
    int hold[2];
    CHECK(pipe(hold) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(hold[1]);
        _exit(static_cast<int>(read(hold[0], &byte, 1)));
    }
    int fds[3];
    const char* const names[] = {"stat", "status", "statm"};
    for (int i = 0; i < 3; ++i) {
        char name[64];
        std::snprintf(name, sizeof name, "/proc/%d/%s", pid, names[i]);
        fds[i] = open(name, O_RDONLY);
        CHECK(fds[i] >= 0);
    }
    char text[512];
    CHECK(read(fds[0], text, sizeof text) > 20);
    CHECK(close(hold[0]) == 0 && close(hold[1]) == 0 && wait_status(pid) == 0);
    for (const int fd : fds) {
        CHECK(lseek(fd, 0, SEEK_SET) == 0);
        CHECK(read(fd, text, sizeof text) == -1 && errno == ESRCH);
        CHECK(close(fd) == 0);
    }
    return true;
}

bool memory_mappings() {
    constexpr std::size_t size = 64 * 4096;
    auto* p = static_cast<unsigned char*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(p != MAP_FAILED);
    for (std::size_t i = 0; i < size; i += 4096) {
        CHECK(p[i] == 0);
        p[i] = static_cast<unsigned char>(i >> 12);
    }
    CHECK(munmap(p + 10 * 4096, 4096) == 0);
    CHECK(mprotect(p, 10 * 4096, PROT_NONE) == 0);
    CHECK(mprotect(p, 10 * 4096, PROT_READ) == 0);
    CHECK(p[5 * 4096] == 5);
    CHECK(mprotect(p, 10 * 4096, PROT_READ | PROT_WRITE) == 0);
    p[5 * 4096] = 99;
    CHECK(mprotect(p, size, PROT_READ) == -1 && errno == ENOMEM); // the hole
    auto* moved =
        static_cast<unsigned char*>(mremap(p + 11 * 4096, 53 * 4096, 200 * 4096, MREMAP_MAYMOVE));
    CHECK(moved != MAP_FAILED);
    CHECK(moved[0] == 11 && moved[52 * 4096] == 63 && moved[100 * 4096] == 0);
    CHECK(madvise(moved, 4096, MADV_DONTNEED) == 0 && moved[0] == 0);
    CHECK(munmap(moved, 200 * 4096) == 0 && munmap(p, 10 * 4096) == 0);

    auto* shared = static_cast<std::atomic<int>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    CHECK(shared != MAP_FAILED);
    const pid_t pid = fork();
    if (pid == 0) {
        *shared = 1234;
        _exit(0);
    }
    CHECK(wait_status(pid) == 0 && *shared == 1234);
    CHECK(munmap(shared, 4096) == 0);
    CHECK(mmap(reinterpret_cast<void*>(4096), 4095, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED &&
          errno == EBADF);
    // Far apart, so that every level of the tables is grown and torn down.
    for (const unsigned long at : {0x10000000000UL, 0x200000000000UL, 0x7ff000000000UL}) {
        auto* far =
            static_cast<char*>(mmap(reinterpret_cast<void*>(at), 8192, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
        CHECK(far != MAP_FAILED);
        far[4096] = 1;
        const pid_t child = fork();
        if (child == 0)
            _exit(far[4096]);
        CHECK(wait_status(child) == 1 << 8);
        CHECK(munmap(far, 8192) == 0);
    }
    return true;
}

bool file_mappings() {
    const int fd = open("/tmp/mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    char block[4096];
    for (int i = 0; i < 8; ++i) {
        std::memset(block, 'a' + i, sizeof block);
        CHECK(write(fd, block, sizeof block) == sizeof block);
    }
    auto* shared =
        static_cast<char*>(mmap(nullptr, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    auto* own =
        static_cast<char*>(mmap(nullptr, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    CHECK(shared != MAP_FAILED && own != MAP_FAILED);
    CHECK(shared[3 * 4096] == 'd' && own[7 * 4096] == 'h');
    own[0] = 'X';
    shared[4096] = 'Y';
    CHECK(shared[0] == 'a' && own[4096] == 'Y');
    char byte;
    CHECK(pread(fd, &byte, 1, 4096) == 1 && byte == 'Y');
    CHECK(pwrite(fd, "Z", 1, 2 * 4096) == 1 && shared[2 * 4096] == 'Z');
    CHECK(munmap(shared, 8 * 4096) == 0 && munmap(own, 8 * 4096) == 0 && close(fd) == 0 &&
          unlink("/tmp/mapped") == 0);
    return true;
}

sigjmp_buf fault_return;
volatile void* fault_address;
void on_fault(int, siginfo_t* info, void*) {
    fault_address = info->si_addr;
    siglongjmp(fault_return, 1);
}

bool faults_become_signals() {
    static unsigned char stack[64 * 1024];
    stack_t alternative{};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    CHECK(sigaltstack(&alternative, nullptr) == 0);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGSEGV, &action, nullptr) == 0);
    CHECK(sigaction(SIGBUS, &action, nullptr) == 0);
    for (int i = 0; i < 3; ++i) {
        auto* volatile bad = reinterpret_cast<int*>(0x1000 + i * 16);
        if (sigsetjmp(fault_return, 1) == 0) {
            *bad = 1;
            CHECK(false);
        }
        CHECK(fault_address == bad);
    }
    auto* readonly =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (sigsetjmp(fault_return, 1) == 0) {
        *readonly = 1;
        CHECK(false);
    }
    CHECK(fault_address == readonly);
    CHECK(mprotect(readonly, 4096, PROT_NONE) == 0);
    if (sigsetjmp(fault_return, 1) == 0) {
        static_cast<void>(*static_cast<volatile char*>(readonly));
        CHECK(false);
    }
    munmap(readonly, 4096);
    if (sigsetjmp(fault_return, 1) == 0) { // the kernel half
        *reinterpret_cast<volatile char*>(0xffff880000000000UL) = 1;
        CHECK(false);
    }
    CHECK(write(1, reinterpret_cast<void*>(0x10), 4) == -1 && errno == EFAULT);
    CHECK(write(1, reinterpret_cast<void*>(0xffff880000100000UL), 4) == -1 && errno == EFAULT);
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    alternative.ss_flags = SS_DISABLE;
    sigaltstack(&alternative, nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        *reinterpret_cast<volatile int*>(0x10) = 1;
        _exit(0);
    }
    CHECK(wait_status(pid) == SIGSEGV);
    return true;
}

volatile sig_atomic_t caught;
void count_signal(int) {
    caught = caught + 1;
}

bool signals_interrupt_and_restart() {
    int ends[2];
    CHECK(pipe(ends) == 0);
    struct sigaction action {};
    action.sa_handler = count_signal;
    CHECK(sigaction(SIGALRM, &action, nullptr) == 0);
    caught = 0;
    itimerval timer{{0, 0}, {0, 50'000}};
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
    char byte;
    CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR && caught == 1);
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, nullptr) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        usleep(150'000);
        _exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
    }
    timer.it_value.tv_usec = 50'000;
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x' && caught == 2);
    CHECK(wait_status(pid) == 0);
    timer = {{0, 10'000}, {0, 10'000}};
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
    while (caught < 10)
        pause();
    timer = {};
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    std::signal(SIGUSR1, count_signal);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    caught = 0;
    kill(getpid(), SIGUSR1);
    CHECK(caught == 0);
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
    CHECK(sigsuspend(&old) == -1 && errno == EINTR && caught == 1);
    kill(getpid(), SIGUSR1);
    int signal = 0;
    CHECK(sigwait(&set, &signal) == 0 && signal == SIGUSR1 && caught == 1);
    CHECK(sigprocmask(SIG_SETMASK, &old, nullptr) == 0);
    close(ends[0]);
    std::signal(SIGPIPE, SIG_IGN);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
    std::signal(SIGPIPE, SIG_DFL);
    close(ends[1]);
    return true;
}

bool stop_and_continue() {
    const pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    int status;
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid &&
          WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(kill(pid, SIGCONT) == 0 && waitpid(pid, &status, WCONTINUED) == pid &&
          WIFCONTINUED(status));
    CHECK(kill(pid, SIGTERM) == 0 && wait_status(pid) == SIGTERM);
    CHECK(kill(pid, 0) == -1 && errno == ESRCH);
    return true;
}

/// A session of its own with one process more, which stops itself; that one's id. Its parent ends
/// when told to, by a byte.
pid_t stopped_in_new_session(bool own_group, int alive, int go) {
    int ids[2];
    if (pipe(ids) != 0)
        return -1;
    if (fork() == 0) {
        setsid();
        const pid_t child = fork();
        if (child == 0) {
            if (own_group)
                setpgid(0, 0);
            close(go);
            raise(SIGSTOP);
            _exit(0);
        }
        close(alive);
        waitpid(child, nullptr, WUNTRACED);
        char byte;
        _exit(write(ids[1], &child, sizeof child) != sizeof child || read(go, &byte, 1) != 1);
    }
    pid_t child = -1;
    close(ids[1]);
    const bool read_it = read(ids[0], &child, sizeof child) == sizeof child;
    close(ids[0]);
    return read_it ? child : -1;
}

/// A stopped group is hung up by the exit that orphans it (POSIX), and by no other.
bool orphaned_groups() {
    for (const bool own_group : {true, false}) {
        int alive[2], go[2];
        CHECK(pipe(alive) == 0 && pipe(go) == 0);
        const pid_t pid = stopped_in_new_session(own_group, alive[1], go[0]);
        CHECK(pid > 0 && close(alive[1]) == 0);
        CHECK(write(go[1], "x", 1) == 1 && wait_status(-1) == 0); // now it is init's child
        const pid_t other = fork();
        if (other == 0)
            _exit(0);
        CHECK(wait_status(other) == 0);
        // Only the group that its parent had tied to the session has become an orphan.
        pollfd ended{alive[0], 0, 0};
        CHECK(poll(&ended, 1, own_group ? 10'000 : 0) == (own_group ? 1 : 0));
        if (!own_group)
            CHECK(kill(pid, SIGKILL) == 0 && poll(&ended, 1, 10'000) == 1);
        close(alive[0]), close(go[0]), close(go[1]);
    }
    return true;
}

bool threads_and_locks() {
    std::mutex mutex;
    std::condition_variable ready;
    long counter = 0;
    int started = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            {
                std::unique_lock lock{mutex};
                ++started;
                ready.notify_all();
                ready.wait(lock, [&] { return started == 8; });
            }
            for (int j = 0; j < 2000; ++j) {
                const std::lock_guard lock{mutex};
                ++counter;
                if (j % 500 == 0)
                    std::this_thread::yield();
            }
        });
    for (std::thread& thread : threads)
        thread.join();
    CHECK(counter == 16'000);
    // Threads of their own floating-point state, switched by time slices.
    std::atomic<int> wrong{0};
    threads.clear();
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            const double expected = std::sqrt(i + 2.0);
            volatile double value = expected;
            for (int j = 0; j < 300'000; ++j)
                value = std::sqrt(value * value);
            if (std::fabs(value - expected) > 1e-9)
                ++wrong;
        });
    for (std::thread& thread : threads)
        thread.join();
    CHECK(wrong == 0);
    return true;
}

bool exit_ends_all_threads() {
    const pid_t pid = fork();
    if (pid == 0) {
        std::thread spinner{[] {
            for (;;)
                pause();
        }};
        std::thread worker{[] {
            usleep(20'000);
            _exit(7);
        }};
        for (;;)
            pause();
    }
    CHECK(wait_status(pid) == 7 << 8);
    return true;
}

bool clocks_and_sleep() {
    timespec before, after;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
    usleep(100'000);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    const double elapsed = static_cast<double>(after.tv_sec - before.tv_sec) +
                           static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-9;
    CHECK(elapsed >= 0.1 && elapsed < 5);
    CHECK(std::time(nullptr) > 1'700'000'000);
    // A spinning child must not keep us from running, and is charged for its time.
    const pid_t pid = fork();
    if (pid == 0)
        for (std::atomic<long> i{0};; ++i) {
        }
    for (int i = 0; i < 10; ++i)
        usleep(20'000);
    CHECK(kill(pid, SIGKILL) == 0);
    int status;
    rusage usage{};
    CHECK(wait4(pid, &status, 0, &usage) == pid && status == SIGKILL);
    CHECK(usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec > 10'000);
    return true;
}

bool heap_grows_and_shrinks() {
    for (int round = 0; round < 5; ++round) {
        std::vector<void*> blocks;
        for (std::size_t i = 1; i < 400; ++i) {
            void* block = std::malloc(i * 300);
            CHECK(block != nullptr);
            std::memset(block, 0x5a, i * 300);
            blocks.push_back(block);
        }
        for (void* block : blocks)
            std::free(block);
    }
    return true;
}

bool out_of_memory_kills_only_the_glutton() {
    const pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            auto* p = static_cast<char*>(
                mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            if (p == MAP_FAILED)
                _exit(3);
            for (int i = 0; i < 1 << 20; i += 4096)
                p[i] = 1;
        }
    }
    const int status = wait_status(pid);
    CHECK(status == SIGKILL || status == 3 << 8);
    return true;
}

struct Case {
    const char* name;
    bool (*run)();
};
constexpr Case cases[] = {
    {"fork copies on write", fork_copies_on_write},
    {"many children", many_children},
    {"spawn runs programs", spawn_runs_programs},
    {"files of a process that went", files_of_a_process_that_went},
    {"memory mappings", memory_mappings},
    {"file mappings", file_mappings},
    {"faults become signals", faults_become_signals},
    {"signals interrupt and restart", signals_interrupt_and_restart},
    {"stop and continue", stop_and_continue},
    {"orphaned groups", orphaned_groups},
    {"threads and locks", threads_and_locks},
    {"exit ends all threads", exit_ends_all_threads},
    {"clocks and sleep", clocks_and_sleep},
    {"heap grows and shrinks", heap_grows_and_shrinks},
    {"out of memory kills only the glutton", out_of_memory_kills_only_the_glutton},
};

} // namespace

int main(int count, char** arguments) {
    for (const Case& test : cases) {
        if (count > 1 && std::strstr(test.name, arguments[1]) == nullptr)
            continue;
        if (count == 1 && test.run == out_of_memory_kills_only_the_glutton &&
            std::getenv("EXERCISE_OOM") == nullptr)
            continue; // not on a development machine
        std::fflush(stdout);
        const bool good = test.run();
        std::printf("%s: %s\n", good ? "ok" : "FAILED", test.name);
        failures += good ? 0 : 1;
    }
    std::printf("exercise: %d failed\n", failures);
    return failures;
}
