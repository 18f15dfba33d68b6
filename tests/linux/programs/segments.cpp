// SPDX-License-Identifier: BSD-2-Clause
// Segments: LDT entries and FS and GS bases of many threads that switch all the time, stale
// selectors, FSGSBASE.
#include "check.hpp"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace {

using namespace test;

long set_entry(unsigned number, const void* base, bool present = true) {
    user_desc entry{};
    entry.entry_number = number;
    entry.base_addr = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(base));
    entry.limit = 0xfffff;
    entry.seg_32bit = 1;
    entry.limit_in_pages = 1;
    entry.useable = 1;
    if (!present) {
        entry = {};
        entry.entry_number = number;
        entry.read_exec_only = 1;
        entry.seg_not_present = 1;
    }
    return syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry);
}
constexpr std::uint16_t selector(unsigned entry) {
    return static_cast<std::uint16_t>(entry << 3 | 7);
}

/// A page below 4 GiB: bases of descriptors have 32 bits.
std::uint32_t* low_page() {
    return static_cast<std::uint32_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
}

std::uint32_t read_by(std::uint16_t sel) {
    std::uint32_t value;
    __asm__ volatile("mov %1, %%gs; movl %%gs:0, %0; xor %%ecx, %%ecx; mov %%ecx, %%gs"
                     : "=r"(value)
                     : "r"(sel)
                     : "ecx");
    return value;
}

/// GS stays loaded over system calls, and so over switches.
void hold_selector(unsigned entry, std::uint32_t expected, unsigned rounds) {
    std::uint32_t value;
    __asm__ volatile("mov %0, %%gs" : : "r"(selector(entry)));
    for (unsigned n = 0; n < rounds; ++n) {
        syscall(SYS_sched_yield);
        __asm__ volatile("movl %%gs:0, %0" : "=r"(value));
        if (value != expected)
            return fail("entry %u shows %x, expected %x", entry, value, expected);
    }
    __asm__ volatile("mov %0, %%gs" : : "r"(0));
}

void tables() {
    std::uint32_t* pages[6];
    constexpr unsigned entries[6] = {0, 1, 511, 512, 4000, 8191}; // on four pages of the table
    for (unsigned n = 0; n < 6; ++n) {
        pages[n] = low_page();
        *pages[n] = 0x1000 + n;
        if (set_entry(entries[n], pages[n]) != 0)
            fail("modify_ldt entry %u: errno %d", entries[n], errno);
    }
    for (unsigned n = 0; n < 6; ++n) {
        const Caught got = signal_of(
            [&] { expect(read_by(selector(entries[n])) == 0x1000 + n, "a read by an LDT entry"); });
        if (got.signal != 0)
            fail("LDT entry %u: signal %d", entries[n], got.signal);
    }
    // Children with other tables, at once; each keeps its own.
    pid_t children[4];
    for (unsigned child = 0; child < 4; ++child) {
        std::fflush(stdout);
        if ((children[child] = fork()) != 0)
            continue;
        *pages[2] = 0x2000 + child;
        std::uint32_t* own = low_page();
        *own = 0x3000 + child;
        if (set_entry(7, own) != 0)
            fail("modify_ldt in a child");
        hold_selector(child % 2 == 0 ? 7 : 511, child % 2 == 0 ? 0x3000 + child : 0x2000 + child,
                      3000);
        std::fflush(stdout);
        _exit(failures != 0);
    }
    hold_selector(4000, 0x1004, 3000);
    for (const pid_t child : children) {
        int status;
        waitpid(child, &status, 0);
        if (status != 0)
            fail("a child with a table of its own: status %x", status);
    }
    // The parent has no entry 7.
    const Caught got = signal_of([] { read_by(selector(7)); });
    if (got.signal != SIGSEGV)
        fail("an LDT entry of a child: signal %d", got.signal);
}

/// 32-bit code in a segment of the LDT, interrupted again and again.
void code_segment() {
    auto* code = static_cast<unsigned char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
    static void* stack;
    extern char back_to_64[] __asm__("back_to_64");
    const auto put = [&](unsigned at, std::uint32_t word) {
        std::memcpy(code + at, &word, sizeof word);
    };
    code[0] = 0xb9, put(1, 10'000'000); // mov ecx
    code[5] = 0xe2, code[6] = 0xfe;     // loop
    code[7] = 0xea,
    put(8, static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(back_to_64))),
    put(12, 0x33); // ljmp
    user_desc entry{};
    entry.entry_number = 1200;
    entry.limit = 0xfffff;
    entry.seg_32bit = entry.limit_in_pages = 1;
    entry.contents = MODIFY_LDT_CONTENTS_CODE;
    if (syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) != 0)
        return fail("a code segment: errno %d", errno);
    const struct [[gnu::packed]] {
        std::uint32_t offset;
        std::uint16_t selector;
    } pointer{static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(code)), selector(1200)};
    const Caught got = signal_of([&] {
        for (unsigned n = 0; n < 5; ++n) {
            syscall(SYS_sched_yield);
            __asm__ volatile("mov %%rsp, %0; ljmpl *%1; back_to_64: mov %0, %%rsp"
                             : "+m"(stack)
                             : "m"(pointer)
                             : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
                               "r12", "r13", "r14", "r15", "memory", "cc");
        }
    });
    if (got.signal != 0)
        fail("code in a segment of the LDT: signal %d", got.signal);
}

/// A loaded selector whose descriptor goes: the register becomes null when it is loaded again.
void stale_selector() {
    // QEMU adds the base of DS where a DS prefix stands, which the CPU ignores in 64-bit mode; on
    // one CPU Linux has such prefixes in place of LOCK.
    const bool with_ds = !is_emulated() || sysconf(_SC_NPROCESSORS_ONLN) > 1;
    const int status = in_child([&] {
        std::uint32_t* page = low_page();
        set_entry(3, page);
        __asm__ volatile("mov %0, %%gs" : : "r"(selector(3)));
        if (with_ds)
            __asm__ volatile("mov %0, %%ds" : : "r"(selector(3)));
        set_entry(3, nullptr, false);
        // Long enough to lose the CPU in user and in kernel mode, where others want it.
        const std::uint64_t end = now_ns() + 500'000'000;
        while (now_ns() < end)
            syscall(SYS_getppid);
        const timespec instant{0, 20'000'000};
        nanosleep(&instant, nullptr);
        __asm__ volatile("mov %0, %%gs; mov %0, %%ds" : : "r"(0));
    });
    if (status != 0)
        fail("a stale selector: status %x", status);
}

std::uint64_t by_gs() {
    std::uint64_t value;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(value));
    return value;
}

void* hold_base(void* argument) {
    const auto number = reinterpret_cast<std::uintptr_t>(argument);
    std::uint64_t own[2] = {0x6500 + number, 0};
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, own) != 0)
        fail("ARCH_SET_GS: errno %d", errno);
    std::uintptr_t fs = 0, fs_now = 0, base = 0;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    for (unsigned n = 0; n < 3000 && failures == 0; ++n) {
        if (by_gs() != own[0])
            fail("GS of thread %lu shows %lx", number, by_gs());
        if (n % 8 == 0)
            sched_yield();
        if (n % 64 == 0) {
            syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
            syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_now);
            if (base != reinterpret_cast<std::uintptr_t>(own))
                fail("ARCH_GET_GS: %lx", base);
            if (fs_now != fs)
                fail("ARCH_GET_FS: %lx, was %lx", fs_now, fs);
        }
    }
    syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
    return nullptr;
}

void bases() {
    pthread_t threads[6];
    for (std::uintptr_t n = 0; n < 6; ++n)
        pthread_create(&threads[n], nullptr, hold_base, reinterpret_cast<void*>(n));
    for (const pthread_t thread : threads)
        pthread_join(thread, nullptr);
    expect(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x0000900000000000) != 0,
           "a GS base that is not canonical is refused");
    constexpr unsigned long hwcap2_fsgsbase = 2;
    const Caught got = signal_of([] {
        std::uint64_t base;
        __asm__ volatile("rdgsbase %0" : "=r"(base));
    });
    const bool offered = (getauxval(AT_HWCAP2) & hwcap2_fsgsbase) != 0;
    if (got.signal != (offered ? 0 : SIGILL))
        fail("rdgsbase: signal %d, offered %d", got.signal, offered);
}

/// The instruction after a load of SS holds traps back.
void stack_segment() {
    const Caught got = signal_of([] {
        __asm__ volatile("mov %%ss, %%eax; mov %%eax, %%ss; int3" : : : "eax");
    });
    if (got.signal != SIGTRAP)
        fail("int3 behind mov ss: signal %d", got.signal);
    for (unsigned n = 0; n < 1000; ++n) {
        long pid = SYS_getpid;
        __asm__ volatile("mov %%ss, %%edx; mov %%edx, %%ss; syscall"
                         : "+a"(pid)
                         :
                         : "rcx", "r11", "edx", "memory");
        if (pid != getpid())
            return fail("a system call behind mov ss: %ld", pid);
    }
}

} // namespace

int main() {
    tables();
    code_segment();
    stale_selector();
    bases();
    stack_segment();
    return finish("segments");
}
