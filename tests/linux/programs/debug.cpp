// SPDX-License-Identifier: BSD-2-Clause
// ptrace as gdb uses it: hardware watchpoints and breakpoints of several processes at once,
// single-step, breakpoints.
#include "check.hpp"

#include <cstddef>
#include <initializer_list>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

namespace {

using namespace test;

enum class Access : unsigned long { execute = 0, write = 1, read_write = 3 };

alignas(16) volatile unsigned char watched[32];
volatile unsigned counter;
[[gnu::noinline]] void target() {
    counter = counter + 1;
}

long peek(pid_t child, unsigned number) {
    return ptrace(PTRACE_PEEKUSER, child, offsetof(user, u_debugreg) + number * 8, nullptr);
}
bool poke(pid_t child, unsigned number, unsigned long value) {
    return ptrace(PTRACE_POKEUSER, child, offsetof(user, u_debugreg) + number * 8, value) == 0;
}

/// Debug registers of a stopped child; DR7 is rewritten with what is added.
struct Watch {
    pid_t child;
    unsigned long dr7{};
    void set(unsigned number, const volatile void* address, Access access, unsigned bytes) {
        const unsigned long length = bytes == 8 ? 2 : bytes - 1u;
        dr7 |= 1ul << (number * 2) | (static_cast<unsigned long>(access) | length << 2)
                                         << (16 + number * 4);
        if (!poke(child, number, reinterpret_cast<unsigned long>(address)))
            fail("DR%u is refused", number);
        if (!poke(child, 7, dr7))
            fail("DR7 %lx is refused", dr7);
    }
};

/// Starts a traced child that stops before `body`.
template <typename Body>
pid_t traced(Body&& body) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        body();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "the child stops at first");
    return child;
}

/// Lets the child go on to its next stop or end.
int go_on(pid_t child, __ptrace_request how = PTRACE_CONT) {
    int status = 0;
    ptrace(how, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    return status;
}
bool is_trap(int status) {
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}
int trap_code(pid_t child) {
    siginfo_t info{};
    ptrace(PTRACE_GETSIGINFO, child, nullptr, &info);
    return info.si_code;
}
user_regs_struct registers(pid_t child) {
    user_regs_struct regs{};
    ptrace(PTRACE_GETREGS, child, nullptr, &regs);
    return regs;
}

/// The next stop is a hit of debug register `number` alone.
void expect_hit(pid_t child, unsigned number, const char* what) {
    const int status = go_on(child);
    if (!is_trap(status))
        return fail("%s: status %x instead of a hit", what, status);
    if (trap_code(child) != TRAP_HWBKPT)
        fail("%s: code %d", what, trap_code(child));
    const long dr6 = peek(child, 6);
    if ((dr6 & 15) != 1l << number)
        fail("%s: DR6 %lx", what, dr6);
    poke(child, 6, 0);
}
void expect_end(pid_t child, const char* what) {
    const int status = go_on(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("%s: status %x instead of its end", what, status);
}

void watchpoints() {
    const pid_t child = traced([] {
        watched[0] = 1;                // DR0: one byte, write
        static_cast<void>(watched[0]); // read: nothing
        static_cast<void>(watched[3]); // DR1: two bytes, read or write
        *reinterpret_cast<volatile std::uint32_t*>(watched + 8) = 5; // DR2: eight bytes, write
        watched[15] = 7;                                             // DR2 again
        target();                                                    // DR3: execution
        watched[16] = 1;                                             // nobody's
    });
    Watch watch{child};
    watch.set(0, watched, Access::write, 1);
    watch.set(1, watched + 2, Access::read_write, 2);
    watch.set(2, watched + 8, Access::write, 8);
    watch.set(3, reinterpret_cast<const void*>(target), Access::execute, 1);
    expect_hit(child, 0, "a store of one byte");
    expect_hit(child, 1, "a load");
    expect_hit(child, 2, "a store of four bytes");
    expect_hit(child, 2, "a store of the last byte");
    expect_hit(child, 3, "an execution");
    if (registers(child).rip != reinterpret_cast<unsigned long>(target))
        fail("the stop is not before the instruction");
    expect_end(child, "after the watchpoints");
    const int status = in_child([] { // the kernel's addresses are refused
        const pid_t one = traced([] {});
        expect(!poke(one, 0, 0xffff820000000000) || !poke(one, 7, 0x10001),
               "a watchpoint on the hypervisor");
        expect(!poke(one, 1, 0xffffffff81000000) || !poke(one, 7, 0x100004),
               "a watchpoint on the kernel");
        kill(one, SIGKILL);
        waitpid(one, nullptr, 0);
    });
    if (status != 0)
        fail("refused watchpoints: status %x", status);
}

/// The system calls of a child store into a watched buffer.
void watched_kernel_store() {
    const pid_t child = traced([] {
        timespec time;
        clock_gettime(CLOCK_REALTIME_COARSE, &time);
        int pipes[2];
        if (pipe(pipes) != 0 || write(pipes[1], "x", 1) != 1)
            _exit(1);
        if (read(pipes[0], const_cast<unsigned char*>(watched), 1) != 1)
            _exit(2);
        if (watched[0] != 'x')
            _exit(3);
    });
    Watch watch{child};
    watch.set(0, watched, Access::write, 1);
    int status = go_on(child);
    while (is_trap(status))
        status = go_on(child); // the kernel's copy may count as a hit
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("a system call that stores there: status %x", status);
}

/// Many children with a watchpoint each, at different addresses, on all CPUs at once: each has
/// exactly its own hits.
void many_at_once() {
    constexpr unsigned children = 8, rounds = 60;
    pid_t pids[children];
    unsigned hits[children]{};
    for (unsigned n = 0; n < children; ++n) {
        pids[n] = traced([] {
            for (unsigned round = 0; round < rounds; ++round) {
                for (unsigned at = 0; at < children * 2; ++at)
                    watched[at] = static_cast<unsigned char>(round);
                for (unsigned spin = 0; spin < 3000; ++spin)
                    __asm__ volatile("");
                sched_yield();
            }
        });
        Watch watch{pids[n]};
        watch.set(n % 4, watched + n * 2, Access::write, 1);
    }
    for (const pid_t pid : pids)
        ptrace(PTRACE_CONT, pid, nullptr, nullptr);
    for (unsigned left = children; left > 0;) {
        int status;
        const pid_t pid = waitpid(-1, &status, 0);
        unsigned n = 0;
        while (n < children && pids[n] != pid)
            ++n;
        if (n == children)
            continue;
        if (!is_trap(status)) {
            if (!WIFEXITED(status))
                fail("child %u: status %x", n, status);
            --left;
            continue;
        }
        if ((peek(pid, 6) & 15) != 1l << (n % 4))
            fail("child %u: DR6 %lx", n, peek(pid, 6));
        poke(pid, 6, 0);
        ++hits[n];
        ptrace(PTRACE_CONT, pid, nullptr, nullptr);
    }
    for (unsigned n = 0; n < children; ++n)
        if (hits[n] != rounds)
            fail("child %u has %u hits, expected %u", n, hits[n], rounds);
}

extern "C" void steps();
extern "C" const char steps_begin[], steps_call[], steps_after[], steps_end[];
__asm__(".globl steps, steps_begin, steps_call, steps_after, steps_end\n"
        "steps: push %rbx\n"
        "steps_begin: mov $39, %eax\n" // getpid
        "nop\n"
        "steps_call: syscall\n"
        "steps_after: xor %ebx, %ebx\n"
        "pushfq\n"
        "popq %rdx\n"
        "cpuid\n"
        "rdtsc\n"
        "steps_end: pop %rbx\n"
        "ret\n");

void single_step() {
    const pid_t child = traced([] { steps(); });
    Watch watch{child};
    watch.set(0, steps_begin, Access::execute, 1);
    expect_hit(child, 0, "the first instruction");
    poke(child, 7, 0);
    unsigned count = 0;
    bool after_call = false;
    for (; count < 50; ++count) {
        const auto before = registers(child).rip;
        if (before == reinterpret_cast<unsigned long>(steps_end))
            break;
        const int status = go_on(child, PTRACE_SINGLESTEP);
        if (!is_trap(status))
            return fail("step %u: status %x", count, status);
        const auto regs = registers(child);
        if (before == reinterpret_cast<unsigned long>(steps_call))
            after_call = regs.rip == reinterpret_cast<unsigned long>(steps_after) &&
                         regs.rax == static_cast<unsigned long>(child);
        if ((regs.eflags & 0x100) != 0)
            fail("step %u: the tracer sees its own TF", count);
    }
    if (count != 8)
        fail("eight instructions took %u steps", count);
    expect(after_call, "a step over a system call");
    expect_end(child, "after the steps");
}

/// A program that traces itself with TF, and one that plants breakpoints.
volatile unsigned traps;
void count_trap(int, siginfo_t*, void*) {
    traps = traps + 1;
}

void own_traps() {
    struct sigaction action {};
    action.sa_sigaction = count_trap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, nullptr);
    traps = 0;
    __asm__ volatile("int3; int3");
    if (traps != 2)
        fail("two breakpoints gave %u signals", traps);
    traps = 0;
    // Set by popf, TF acts after the instruction that follows; the last trap is that of the second
    // popf.
    __asm__ volatile("sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq\n"
                     "nop; nop; pushfq; andq $~0x100, (%%rsp); popfq\n"
                     "add $128, %%rsp"
                     :
                     :
                     : "cc", "memory");
    if (traps != 5)
        fail("five instructions under TF gave %u signals", traps);
    std::signal(SIGTRAP, SIG_DFL);
}

/// A breakpoint as a debugger plants it, in a child that goes from CPU to CPU.
void planted_breakpoint() {
    constexpr unsigned rounds = 50;
    const pid_t child = traced([] {
        for (unsigned n = 0; n < rounds; ++n) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(n % 4, &one);
            sched_setaffinity(0, sizeof one, &one);
            target();
        }
        if (counter != rounds)
            _exit(1);
    });
    const auto at = reinterpret_cast<unsigned long>(target);
    const long original = ptrace(PTRACE_PEEKTEXT, child, at, nullptr);
    const long planted = (original & ~0xffl) | 0xcc;
    ptrace(PTRACE_POKETEXT, child, at, planted);
    for (unsigned n = 0; n < rounds; ++n) {
        if (const int status = go_on(child); !is_trap(status))
            return fail("breakpoint %u: status %x", n, status);
        auto regs = registers(child);
        if (regs.rip != at + 1)
            fail("breakpoint %u: at %llx", n, regs.rip);
        regs.rip = at;
        ptrace(PTRACE_SETREGS, child, nullptr, &regs);
        ptrace(PTRACE_POKETEXT, child, at, original);
        if (const int status = go_on(child, PTRACE_SINGLESTEP); !is_trap(status))
            fail("step over it: status %x", status);
        ptrace(PTRACE_POKETEXT, child, at, planted);
    }
    expect_end(child, "after the breakpoints");
}

} // namespace

int main() {
    watchpoints();
    watched_kernel_store();
    many_at_once();
    single_step();
    own_traps();
    planted_breakpoint();
    return finish("debug");
}
