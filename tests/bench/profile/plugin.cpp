// SPDX-License-Identifier: BSD-2-Clause
// A QEMU plugin: how often each instruction ran between two calls of the benchmark program's
// ticks(), and how many of them were of a kind that costs hardware more than an instruction.
// Options: from=N, to=N (numbers of those calls), out=FILE.
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

// The part of QEMU's plugin interface, version 1, that is used here: no Debian 12 package brings
// its header.
extern "C" {
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;
using qemu_plugin_id_t = std::uint64_t;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                           void (*)(qemu_plugin_id_t, qemu_plugin_tb*));
std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb*);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb*, std::size_t);
const void* qemu_plugin_insn_data(const qemu_plugin_insn*);
std::size_t qemu_plugin_insn_size(const qemu_plugin_insn*);
std::uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn*);
void qemu_plugin_register_vcpu_insn_exec_inline(qemu_plugin_insn*, int, void*, std::uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void*), void*);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn*, void (*)(unsigned, void*), int,
                                            void*);

[[gnu::visibility("default")]] int qemu_plugin_version = 1;
[[gnu::visibility("default")]] int qemu_plugin_install(qemu_plugin_id_t, const qemu_info_t*, int,
                                                       char**);
}

namespace {

struct Counter {
    std::uint64_t runs;
    const char* kind; ///< null for an ordinary instruction
};

std::unordered_map<std::uint64_t, Counter*>
    counters; ///< by address; never freed, since translations point into it
struct Window {
    std::uint64_t from, to;
};
std::vector<Window> windows;
std::size_t current;
std::uint64_t calls;
std::string out;
std::unordered_map<std::uint64_t, bool> marks;
std::FILE* mark_file;
std::uint64_t executed;

/// Kinds that are counted apart; system calls and returns are told by their address later.
const char* kind_of(const std::uint8_t* code, std::size_t size) {
    while (size > 1 && (*code & 0xF0) == 0x40)
        ++code, --size; // REX
    if (size == 1 && *code == 0xCF)
        return "iret";
    if (size < 2 || code[0] != 0x0F)
        return nullptr;
    if (code[1] == 0x05)
        return "syscall";
    if (code[1] == 0x07)
        return "sysret";
    if (code[1] == 0x22 && size > 2 && (code[2] & 0x38) == 0x18)
        return "cr3";
    if (code[1] == 0x22 && size > 2 && (code[2] & 0x38) == 0x20)
        return "cr4";
    if (code[1] == 0x01 && size > 2 && (code[2] & 0x38) == 0x38 && code[2] < 0xC0)
        return "invlpg";
    if (code[1] == 0x30)
        return "wrmsr";
    return nullptr;
}

void dump() {
    std::FILE* const file = std::fopen((out + std::to_string(current)).c_str(), "w");
    if (file == nullptr)
        std::abort();
    for (const auto& [address, counter] : counters)
        if (counter->runs != 0)
            std::fprintf(file, "%" PRIx64 " %" PRIu64 " %s\n", address, counter->runs,
                         counter->kind == nullptr ? "-" : counter->kind);
    std::fclose(file);
}

/// `where` is an address, or one of the program's marks.
void ticked(unsigned, void* where) {
    ++calls;
    if (mark_file != nullptr)
        std::fprintf(mark_file, "%" PRIx64 " %" PRIu64 "\n", reinterpret_cast<std::uint64_t>(where),
                     executed);
    if (current == windows.size())
        return;
    if (calls == windows[current].to) {
        dump();
        ++current;
    }
    if (current < windows.size() && calls == windows[current].from)
        for (const auto& [address, counter] : counters)
            counter->runs = 0;
}

/// The guest's init has started, which itself has called ticks() once.
void restarted(unsigned, void*) {
    calls = 1;
}

void finished(qemu_plugin_id_t, void*) {
    if (mark_file != nullptr)
        std::fclose(mark_file);
}

void translated(qemu_plugin_id_t, qemu_plugin_tb* block) {
    for (std::size_t n = 0; n < qemu_plugin_tb_n_insns(block); ++n) {
        qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(block, n);
        const auto* const code =
            static_cast<const std::uint8_t*>(qemu_plugin_insn_data(instruction));
        const std::size_t size = qemu_plugin_insn_size(instruction);
        const std::uint64_t address = qemu_plugin_insn_vaddr(instruction);
        Counter*& counter = counters[address];
        if (counter == nullptr)
            counter = new Counter{};
        counter->kind = kind_of(code, size);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &counter->runs, 1);
        if (mark_file != nullptr)
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &executed, 1);
        if (marks.contains(address))
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, ticked, 0,
                                                   reinterpret_cast<void*>(address));
        // The mark in the program's ticks(). (Its rdtsc would not do: QEMU starts it twice when its
        // instruction budget ends there.)
        if (size != 7 || std::memcmp(code, "\x0F\x1F\x80", 3) != 0 ||
            std::memcmp(code + 4, "\x12\xCE\x00", 3) != 0)
            continue;
        if (code[3] == 0x35)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, restarted, 0, nullptr);
        else
            qemu_plugin_register_vcpu_insn_exec_cb(
                instruction, ticked, 0, reinterpret_cast<void*>(std::uintptr_t{code[3]}));
    }
}

} // namespace

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t*, int count, char** options) {
    for (int n = 0; n < count; ++n) {
        const std::string option = options[n];
        if (Window window{}; std::sscanf(option.c_str(), "window=%" SCNu64 "-%" SCNu64,
                                         &window.from, &window.to) == 2)
            windows.push_back(window);
        if (option.starts_with("mark="))
            marks[std::strtoull(option.c_str() + 5, nullptr, 16)] = true;
        if (option.starts_with("out="))
            out = option.substr(4);
    }
    if (out.empty() || (windows.empty() && marks.empty())) {
        std::fprintf(stderr, "profile: window=N-M or mark=ADDRESS, and out=FILE, are wanted\n");
        return 1;
    }
    if (!marks.empty() && (mark_file = std::fopen((out + "marks").c_str(), "w")) == nullptr)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, nullptr);
    return 0;
}
