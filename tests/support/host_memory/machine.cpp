// SPDX-License-Identifier: BSD-2-Clause
// The host's version of the arch seam for tests of the memory code: small, with injected
// preemption.
#include "machine.hpp"

#include <arch/api/boot.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/memory.hpp>
#include <arch/api/tlb.hpp>
#include <arch/api/uaccess.hpp>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <sys/mman.h>

namespace cero {

namespace arch {
unsigned char* host_memory;
std::uint64_t* host_m2p;
} // namespace arch

namespace host {
Flushes flushes;
std::vector<const char*> log_formats;
bool log_to_stderr = true;

namespace {
std::uint64_t ram_frames, hole_first, hole_count;
std::vector<arch::MemoryRange> ranges;
std::atomic<std::uint64_t> points{0};
std::uint64_t stop_at = ~0ull;
bool stop_always;
const char* fault_first;
std::size_t fault_bytes;
std::uint64_t slots[16];
thread_local arch::PerCpu cpu_area;

bool faults(const void* at, std::size_t bytes) {
    const char* first = static_cast<const char*>(at);
    return fault_bytes != 0 && first < fault_first + fault_bytes && fault_first < first + bytes;
}
} // namespace

void reset_machine(std::uint64_t frames, std::uint64_t io_first, std::uint64_t io_count) {
    if (arch::host_memory != nullptr)
        munmap(arch::host_memory, ram_frames << page_shift);
    ram_frames = frames;
    hole_first = io_first;
    hole_count = io_count;
    void* memory = mmap(nullptr, frames << page_shift, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        std::abort();
    arch::host_memory = static_cast<unsigned char*>(memory);
    delete[] arch::host_m2p;
    arch::host_m2p = new std::uint64_t[frames];
    std::memset(arch::host_m2p, 0xff, frames * sizeof(std::uint64_t));
    ranges.clear();
    if (io_count == 0) {
        ranges.push_back({0, frames << page_shift, arch::MemoryType::ram});
    } else {
        ranges.push_back({0, io_first << page_shift, arch::MemoryType::ram});
        ranges.push_back({(io_first + io_count) << page_shift,
                          (frames - io_first - io_count) << page_shift, arch::MemoryType::ram});
    }
    for (unsigned n = 0; n < 16; ++n)
        slots[n] = 0x1000'0000'0063ull + (n << 12);
    flushes.local = flushes.local_page = flushes.remote = flushes.remote_page = 0;
    log_formats.clear();
    never_preempt();
    fault_bytes = 0;
}

void preempt_after(std::uint64_t count, bool sticky) {
    points = 0;
    stop_at = count;
    stop_always = sticky;
}
void never_preempt() {
    preempt_after(~0ull);
}
std::uint64_t preemption_points() {
    return points;
}
void fault_range(const void* first, std::size_t bytes) {
    fault_first = static_cast<const char*>(first);
    fault_bytes = bytes;
}
void enter_cpu(Vcpu& vcpu, unsigned cpu) {
    cpu_area.self = &cpu_area;
    cpu_area.current = &vcpu;
    cpu_area.id = cpu;
}

} // namespace host

namespace arch {

MachineFrame max_frame() noexcept {
    return MachineFrame{host::ram_frames};
}
bool frame_is_ram(MachineFrame frame) noexcept {
    return frame.raw() < host::ram_frames && frame.raw() - host::hole_first >= host::hole_count;
}
bool frame_is_guest_io(MachineFrame frame) noexcept {
    return !frame_is_ram(frame) && frame.raw() < (1ull << 40) && frame.raw() != 0xfee00;
}
const std::uint64_t* hypervisor_slots() noexcept {
    return host::slots;
}
void clear_page(void* page) noexcept {
    std::memset(page, 0, page_size);
}
void copy_page(void* to, const void* from) noexcept {
    std::memcpy(to, from, page_size);
}
std::span<const MemoryRange> memory_map() noexcept {
    return host::ranges;
}
void for_each_free_range(void (*visit)(MachineFrame first, std::uint64_t count)) noexcept {
    for (const MemoryRange& range : host::ranges)
        visit(MachineFrame{range.base >> page_shift}, range.size >> page_shift);
}

void tlb_flush_local() noexcept {
    ++host::flushes.local;
}
void tlb_flush_local_page(GuestVirt) noexcept {
    ++host::flushes.local_page;
}
void tlb_flush(CpuMask) noexcept {
    ++host::flushes.remote;
}
void tlb_flush_page(CpuMask, GuestVirt) noexcept {
    ++host::flushes.remote_page;
}

bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept {
    const void* source = reinterpret_cast<const void*>(from.raw());
    if (source == nullptr || host::faults(source, bytes))
        return false;
    std::memcpy(to, source, bytes);
    return true;
}
bool copy_to_guest(GuestVirt to, const void* from, std::size_t bytes) noexcept {
    void* target = reinterpret_cast<void*>(to.raw());
    if (target == nullptr || host::faults(target, bytes))
        return false;
    std::memcpy(target, from, bytes);
    return true;
}

PerCpu& this_cpu() noexcept {
    return host::cpu_area;
}
bool preemption_point() noexcept {
    const std::uint64_t point = host::points++;
    return point == host::stop_at || (host::stop_always && point > host::stop_at);
}
CpuMask online_cpus() noexcept {
    return CpuMask{1};
}
void call_on(CpuMask, void (*)(void*), void*) noexcept {}
void service_remote_requests(bool) noexcept {}
void relax() noexcept {
    sched_yield();
}
void load_page_tables(Vcpu&) noexcept {}
void load_ldt(Vcpu&) noexcept {}
void load_gdt(Vcpu&) noexcept {}

void log(Level, const char* format, ...) noexcept {
    host::log_formats.push_back(format);
    if (!host::log_to_stderr)
        return;
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::fputc('\n', stderr);
}
void panic(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::abort();
}

} // namespace arch
} // namespace cero
