// SPDX-License-Identifier: BSD-2-Clause
// What goes wrong in a program becomes the right signal with the right code and address, and
// nothing worse: faults, privileged instructions, bad selectors, broken signal frames, the vsyscall
// page, core dumps, absent counters.
#include "check.hpp"

#include <cfenv>
#include <elf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <ucontext.h>
#include <vector>

namespace {

using namespace test;

template <typename Body>
void gives(const char* what, int signal, int code, Body&& body) {
    const Caught got = signal_of(body);
    if (got.signal != signal || (code != -1 && got.code != code))
        fail("%s: signal %d code %d, expected signal %d code %d", what, got.signal, got.code,
             signal, code);
}
template <typename Body>
void gives_at(const char* what, int code, std::uintptr_t address, Body&& body) {
    gives(what, SIGSEGV, code, body);
    if (caught.address != address)
        fail("%s: address %lx, expected %lx", what, caught.address, address);
}

void touch(std::uintptr_t address) {
    static_cast<void>(*reinterpret_cast<volatile char*>(address));
}

void memory() {
    gives_at("a null pointer", SEGV_MAPERR, 0x10, [] { touch(0x10); });
    auto* page =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    const auto at = reinterpret_cast<std::uintptr_t>(page);
    gives_at("a store to a read-only page", SEGV_ACCERR, at + 5,
             [=] { *const_cast<volatile char*>(page + 5) = 1; });
    gives_at("execution of data", SEGV_ACCERR, at, [=] { reinterpret_cast<void (*)()>(at)(); });
    gives("a non-canonical address", SIGSEGV, SI_KERNEL, [] { touch(0x0000900000000000); });
    gives("the hypervisor's image", SIGSEGV, -1, [] { touch(0xffff820000000000); });
    gives("the kernel's part", SIGSEGV, -1, [] { touch(0xffffffff81000000); });
}

void arithmetic() {
    gives("a division by zero", SIGFPE, FPE_INTDIV, [] {
        __asm__ volatile("div %0" : : "r"(0), "a"(1), "d"(0));
    });
    gives("an x87 division by zero", SIGFPE, FPE_FLTDIV, [] {
        const std::uint16_t control = 0x37b;
        __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(control));
    });
    __asm__ volatile("fninit");
    if (!is_emulated())
        gives("an SSE division by zero", SIGFPE, FPE_FLTDIV, [] {
            const std::uint32_t control = 0x1f80 & ~0x200;
            double one = 1.0, none = 0.0;
            __asm__ volatile("ldmxcsr %2; divsd %1, %0" : "+x"(one) : "x"(none), "m"(control));
        });
    const std::uint32_t control = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
}

void instructions() {
    gives("ud2", SIGILL, ILL_ILLOPN, [] { __asm__ volatile("ud2"); });
    gives("int3", SIGTRAP, SI_KERNEL, [] { __asm__ volatile("int3"); });
    if (!is_emulated())
        gives("icebp", SIGTRAP, -1, [] { __asm__ volatile(".byte 0xf1"); });
    gives("int 0x82", SIGSEGV, -1, [] { __asm__ volatile("int $0x82"); });
    gives("int 14", SIGSEGV, -1, [] { __asm__ volatile("int $14"); });
    gives("hlt", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("hlt"); });
    gives("cli", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("cli"); });
    gives("sti", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("sti"); });
    gives("rdmsr", SIGSEGV, SI_KERNEL, [] {
        __asm__ volatile("rdmsr" : : "c"(0x10) : "eax", "edx");
    });
    gives("wrmsr", SIGSEGV, SI_KERNEL, [] {
        __asm__ volatile("wrmsr" : : "c"(0xc0000100), "a"(0), "d"(0));
    });
    gives("mov from cr0", SIGSEGV, SI_KERNEL, [] {
        __asm__ volatile("mov %%cr0, %%rax" : : : "rax");
    });
    gives("mov to dr7", SIGSEGV, SI_KERNEL, [] {
        __asm__ volatile("mov %%rax, %%dr7" : : "a"(0));
    });
    gives("invlpg", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("invlpg (%%rsp)" : : :); });
    gives("wbinvd", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("wbinvd"); });
    gives("rdpmc", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("rdpmc" : : "c"(0) : "eax", "edx"); });
    gives("in", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("inb %%dx" : : "d"(0x80) : "eax"); });
    gives("lgdt", SIGSEGV, SI_KERNEL, [] { __asm__ volatile("lgdt (%%rsp)" : : :); });
    gives("a bad data selector", SIGSEGV, SI_KERNEL, [] {
        __asm__ volatile("mov %0, %%ds" : : "r"(0x1234));
    });
    gives("a bad stack selector", SIGSEGV, -1, [] {
        __asm__ volatile("mov %0, %%ss" : : "r"(0x1234));
    });
    gives("a far jump to ring 0", SIGSEGV, -1, [] {
        const struct [[gnu::packed]] {
            std::uint32_t offset;
            std::uint16_t selector;
        } pointer{0, 0xe008};
        __asm__ volatile("ljmpl *%0" : : "m"(pointer));
    });
    // Asked for or not, no port opens.
    static_cast<void>(iopl(3));
    static_cast<void>(ioperm(0x80, 1, 1));
    gives("out after iopl and ioperm", SIGSEGV, -1, [] {
        __asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(0x80));
    });
}

void stack_overflow() {
    static char other[65536];
    const stack_t stack{other, 0, sizeof other};
    sigaltstack(&stack, nullptr);
    gives("a stack overflow", SIGSEGV, SEGV_MAPERR,
          [] { __asm__ volatile("1: push %rax; jmp 1b"); });
}

int spoiled; ///< which register of the frame the handler spoils
void spoil(int, siginfo_t*, void* context) {
    auto* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    if (spoiled == 0)
        regs[REG_RIP] = 0x0000900000000000;
    if (spoiled == 1)
        regs[REG_RSP] = 0x0000900000000000;
    if (spoiled == 2)
        regs[REG_CSGSFS] = (regs[REG_CSGSFS] & ~0xffffll) | 0x1237;
    if (spoiled == 3)
        regs[REG_CSGSFS] = (regs[REG_CSGSFS] & ~(0xffffll << 48)) | 0x1237ll << 48;
    if (spoiled == 4)
        regs[REG_EFL] |= 0x3000 | 0x4000; // IOPL and NT
}

/// Returns from a handler into what the processor refuses.
void broken_frames() {
    for (spoiled = 0; spoiled < 5; ++spoiled) {
        const int status = in_child([] {
            struct sigaction action {};
            action.sa_sigaction = spoil;
            action.sa_flags = SA_SIGINFO;
            sigaction(SIGUSR1, &action, nullptr);
            raise(SIGUSR1);
            if (spoiled == 1)
                touch(*static_cast<std::uintptr_t*>(__builtin_frame_address(0)));
        });
        const bool survives = spoiled == 4;
        const bool good = survives ? status == 0
                                   : WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV ||
                                                             WTERMSIG(status) == SIGBUS);
        if (!good)
            fail("frame spoiled in way %d: status %x", spoiled, status);
    }
}

/// Debian's kernel offers the page only when it is asked for.
bool has_vsyscall() {
    char words[1024]{};
    const int file = open("/proc/cmdline", O_RDONLY);
    if (read(file, words, sizeof words - 1) < 0)
        fail("/proc/cmdline");
    close(file);
    return std::strstr(words, "vsyscall=xonly") != nullptr;
}

void vsyscall() {
    if (!has_vsyscall())
        return;
    timeval old_way{}, new_way{};
    const auto call = reinterpret_cast<int (*)(timeval*, void*)>(0xffffffffff600000);
    const Caught got = signal_of([&] { call(&old_way, nullptr); });
    if (got.signal != 0)
        return fail("the vsyscall page: signal %d", got.signal);
    gettimeofday(&new_way, nullptr);
    expect(new_way.tv_sec - old_way.tv_sec <= 5 && new_way.tv_sec >= old_way.tv_sec,
           "time from the vsyscall page");
}

void counters() {
    perf_event_attr request{};
    request.type = PERF_TYPE_HARDWARE;
    request.size = sizeof request;
    request.config = PERF_COUNT_HW_CPU_CYCLES;
    const long hardware = syscall(SYS_perf_event_open, &request, 0, -1, -1, 0);
    if (hardware >= 0 || (errno != ENOENT && errno != EOPNOTSUPP && errno != ENODEV))
        fail("hardware counters: %ld, errno %d", hardware, errno);
    request.type = PERF_TYPE_SOFTWARE;
    request.config = PERF_COUNT_SW_CPU_CLOCK;
    expect(syscall(SYS_perf_event_open, &request, 0, -1, -1, 0) >= 0, "software counters");
}

constexpr std::uint64_t r12_mark = 0x1212121212121212, xmm_mark = 0x5757575757575757;

void core_dump() {
    unlink("/tmp/core");
    const int pattern = open("/proc/sys/kernel/core_pattern", O_WRONLY);
    if (pattern < 0 || write(pattern, "/tmp/core", 9) != 9)
        return fail("core_pattern");
    close(pattern);
    const int status = in_child([] {
        const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_CORE, &all);
        __asm__ volatile("mov %0, %%r12; movq %1, %%xmm7; ud2"
                         :
                         : "r"(r12_mark), "r"(xmm_mark)
                         : "r12", "xmm7");
    });
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGILL || !WCOREDUMP(status))
        return fail("core: status %x", status);
    const int file = open("/tmp/core", O_RDONLY);
    std::vector<char> bytes(65536);
    const ssize_t size = read(file, bytes.data(), bytes.size());
    close(file);
    if (size < static_cast<ssize_t>(sizeof(Elf64_Ehdr)))
        return fail("core: %zd bytes", size);
    const auto* elf = reinterpret_cast<const Elf64_Ehdr*>(bytes.data());
    expect(std::memcmp(elf->e_ident, ELFMAG, SELFMAG) == 0 && elf->e_type == ET_CORE,
           "core: its ELF header");
    bool general = false, extended = false;
    for (unsigned n = 0; n < elf->e_phnum; ++n) {
        const auto* segment = reinterpret_cast<const Elf64_Phdr*>(bytes.data() + elf->e_phoff) + n;
        if (segment->p_type != PT_NOTE)
            continue;
        for (std::size_t at = segment->p_offset; at + 12 < segment->p_offset + segment->p_filesz;) {
            const auto* note = reinterpret_cast<const Elf64_Nhdr*>(bytes.data() + at);
            const char* content = bytes.data() + at + sizeof *note + ((note->n_namesz + 3u) & ~3u);
            if (note->n_type == NT_PRSTATUS) {
                user_regs_struct regs;
                std::memcpy(&regs, reinterpret_cast<const elf_prstatus*>(content)->pr_reg,
                            sizeof regs);
                general = regs.r12 == r12_mark;
            } else if (note->n_type == NT_PRFPREG) {
                std::uint64_t xmm7;
                std::memcpy(&xmm7, content + 160 + 7 * 16, sizeof xmm7);
                extended = xmm7 == xmm_mark;
            }
            at += sizeof *note + ((note->n_namesz + 3u) & ~3u) + ((note->n_descsz + 3u) & ~3u);
        }
    }
    expect(general, "core: r12 is in it");
    expect(extended, "core: xmm7 is in it");
}

} // namespace

int main() {
    memory();
    arithmetic();
    instructions();
    stack_overflow();
    broken_frames();
    vsyscall();
    counters();
    core_dump();
    return finish("faults");
}
