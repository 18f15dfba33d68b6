// SPDX-License-Identifier: BSD-2-Clause
#include "host_arch.hpp"

#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/guest_ops.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/memory.hpp>
#include <arch/api/power.hpp>
#include <arch/api/tlb.hpp>
#include <arch/api/uaccess.hpp>
#include <cero/abi/hypercall.h>
#include <core/domain/domain.hpp>
#include <core/frame/frame_table.hpp>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace cero::host {
namespace {

arch::PerCpu areas[cpus];
unsigned this_one;
unsigned started;
constexpr std::uint64_t first_free = 16; ///< frame 0 and a few more are not given out

} // namespace

State& state() {
    static State the_state;
    return the_state;
}

void become(unsigned cpu) {
    this_one = cpu;
}

void use_cpus(unsigned count) {
    state().online = count;
    for (; started < count; ++started) {
        areas[started].self = &areas[started];
        areas[started].id = started;
        become(started);
        core::start_cpu();
    }
    become(0);
}

void boot() {
    static bool done = false;
    if (done)
        return;
    done = true;
    const std::size_t bytes = ram_frames * page_size;
    arch::host_memory = static_cast<unsigned char*>(std::aligned_alloc(page_size, bytes));
    std::memset(arch::host_memory, 0xa5, bytes);
    arch::host_m2p = new std::uint64_t[ram_frames];
    host_frame_table = new Atomic<std::uint64_t>[ram_frames];
    frame_init();
    use_cpus(1);
}

void run_as(Vcpu& vcpu) {
    areas[this_one].current = &vcpu;
}

void leave_hypervisor() {
    arch::PerCpu& cpu = areas[this_one];
    while (const std::uint32_t bits = cpu.softirqs.exchange(0, Order::relaxed)) {
        core::run_softirqs(bits);
        if ((bits & bit(arch::Softirq::schedule)) != 0)
            core::schedule();
    }
}

} // namespace cero::host

namespace cero::arch {

using host::state;

unsigned char* host_memory;
std::uint64_t* host_m2p;

PerCpu& this_cpu() noexcept {
    return host::areas[host::this_one];
}
PerCpu& cpu_area(CpuId cpu) noexcept {
    return host::areas[cpu.raw()];
}
CpuMask online_cpus() noexcept {
    return CpuMask{(1ull << state().online) - 1};
}
std::uint32_t cpu_count() noexcept {
    return state().online;
}
void raise_softirq(Softirq softirq) noexcept {
    this_cpu().softirqs.fetch_or(bit(softirq), Order::relaxed);
}
void raise_softirq_on(CpuId cpu, Softirq softirq) noexcept {
    cpu_area(cpu).softirqs.fetch_or(bit(softirq), Order::relaxed);
}
void send_reschedule(CpuId cpu) noexcept {
    ++state().reschedules;
    raise_softirq_on(cpu, Softirq::schedule);
}
void send_event_check(CpuId) noexcept {
    ++state().event_checks;
}
void call_on(CpuMask cpus, void (*function)(void*), void* argument) noexcept {
    cpus.for_each([&](CpuId) { function(argument); });
}
bool preemption_point() noexcept {
    return state().preempt_every != 0 && ++state().preempt_calls % state().preempt_every == 0;
}
void service_remote_requests(bool) noexcept {}
void relax() noexcept {}
void halt_until_interrupt() noexcept {}

Nanoseconds system_time() noexcept {
    return Nanoseconds{state().now};
}
void set_timer_deadline(Nanoseconds deadline) noexcept {
    state().deadline[this_cpu().id] = deadline.raw();
}
const TscScale& tsc_scale() noexcept {
    static constexpr TscScale scale{0, 0, 0x80000000u, 1, true, 1'000'000};
    return scale;
}
std::uint64_t read_tsc() noexcept {
    return state().now;
}
std::uint64_t wall_clock_at_boot() noexcept {
    return 1'700'000'000;
}

void log(Level, const char* format, ...) noexcept {
    char line[512];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    state().log.emplace_back(line);
}
void panic(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::fputs(" (panic)\n", stderr);
    std::abort();
}
void console_write(const char* text, std::size_t bytes) noexcept {
    state().console.append(text, bytes);
}
std::size_t console_read(char* out, std::size_t bytes) noexcept {
    const std::size_t now = std::min(bytes, state().input.size());
    std::memcpy(out, state().input.data(), now);
    state().input.erase(0, now);
    return now;
}
std::size_t log_read(std::uint64_t& index, char* out, std::size_t bytes) noexcept {
    std::string all;
    for (const std::string& line : state().log)
        all += line + '\n';
    if (index >= all.size())
        return 0;
    const std::size_t now = std::min<std::size_t>(bytes, all.size() - index);
    std::memcpy(out, all.data() + index, now);
    index += now;
    return now;
}
void log_clear() noexcept {
    state().log.clear();
}

void vcpu_init(Vcpu& vcpu) noexcept {
    vcpu.arch = {};
}
void context_switch(Vcpu&, Vcpu& to) noexcept {
    this_cpu().current = &to;
}
bool is_acceptable(const Vcpu&, const cero_vcpu_guest_context&) noexcept {
    return !state().refuse_context;
}
void set_guest_context(Vcpu& vcpu, const cero_vcpu_guest_context& context) noexcept {
    vcpu.arch.regs.rip = context.user_regs.rip;
    vcpu.arch.regs.rsp = context.user_regs.rsp;
}
void get_guest_context(const Vcpu& vcpu, cero_vcpu_guest_context& context) noexcept {
    context = {};
    context.user_regs.rip = vcpu.arch.regs.rip;
    context.user_regs.rsp = vcpu.arch.regs.rsp;
}
void set_start_of_day(Vcpu& vcpu, GuestVirt entry, GuestVirt stack, GuestVirt info) noexcept {
    vcpu.arch.regs.rip = entry.raw();
    vcpu.arch.regs.rsp = stack.raw();
    vcpu.arch.regs.rsi = info.raw();
}
void load_page_tables(Vcpu&) noexcept {}
void load_gdt(Vcpu&) noexcept {}
void load_ldt(Vcpu&) noexcept {}
void inject_exception(Vcpu&, unsigned) noexcept {}
void inject_exception(Vcpu&, unsigned, std::uint32_t) noexcept {}
void inject_page_fault(Vcpu&, GuestVirt, std::uint32_t) noexcept {}
void queue_nmi(Vcpu& vcpu) noexcept {
    vcpu.arch.exit_work |= exit_nmi;
}
void restart_hypercall(Vcpu&, std::uint64_t number, const std::uint64_t (&args)[5]) noexcept {
    state().restart_number = number;
    std::copy(std::begin(args), std::end(args), state().restart_args);
}
void dump_vcpu(const Vcpu&) noexcept {}

namespace {

bool accessible(GuestVirt at, std::size_t bytes) {
    const std::uint64_t first = at.raw();
    const std::uint64_t end = first + bytes;
    if (first < page_size || end < first || end >= 1ull << 47)
        return false;
    return end <= state().fault_from || first >= state().fault_to;
}

} // namespace

bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept {
    if (bytes == 0)
        return true;
    if (!accessible(from, bytes))
        return false;
    std::memcpy(to, reinterpret_cast<const void*>(from.raw()), bytes);
    return true;
}
bool copy_to_guest(GuestVirt to, const void* from, std::size_t bytes) noexcept {
    if (bytes == 0)
        return true;
    if (!accessible(to, bytes))
        return false;
    std::memcpy(reinterpret_cast<void*>(to.raw()), from, bytes);
    return true;
}
bool clear_guest(GuestVirt to, std::size_t bytes) noexcept {
    if (!accessible(to, bytes))
        return false;
    std::memset(reinterpret_cast<void*>(to.raw()), 0, bytes);
    return true;
}

MachineFrame max_frame() noexcept {
    return MachineFrame{host::ram_frames};
}
bool frame_is_ram(MachineFrame frame) noexcept {
    return frame.raw() < host::ram_frames;
}
bool frame_is_guest_io(MachineFrame frame) noexcept {
    return !frame_is_ram(frame);
}
const std::uint64_t* hypervisor_slots() noexcept {
    static constexpr std::uint64_t slots[16] = {0x1003, 0x2003};
    return slots;
}
void clear_page(void* page) noexcept {
    std::memset(page, 0, page_size);
}
void copy_page(void* to, const void* from) noexcept {
    std::memcpy(to, from, page_size);
}

void tlb_flush_local() noexcept {
    ++state().flushes;
}
void tlb_flush_local_page(GuestVirt) noexcept {
    ++state().flushes;
}
void tlb_flush(CpuMask) noexcept {
    ++state().flushes;
}
void tlb_flush_page(CpuMask, GuestVirt) noexcept {
    ++state().flushes;
}

std::span<const MemoryRange> memory_map() noexcept {
    static constexpr MemoryRange map[] = {{0, host::ram_frames * page_size, MemoryType::ram}};
    return map;
}
std::span<const BootModule> boot_modules() noexcept {
    return state().modules;
}
std::span<const std::byte> module_bytes(const BootModule& module) noexcept {
    return {reinterpret_cast<const std::byte*>(host_memory + module.base), module.size};
}
void for_each_free_range(void (*visit)(MachineFrame, std::uint64_t)) noexcept {
    visit(MachineFrame{host::first_free}, host::ram_frames - host::first_free);
}
std::optional<std::string_view> boot_option(std::string_view name) noexcept {
    const auto at = state().options.find(name);
    if (at == state().options.end())
        return {};
    return at->second;
}
const char* boot_command_line() noexcept {
    return "test";
}
std::uint64_t acpi_root() noexcept {
    return 0;
}

std::uint32_t gsi_count() noexcept {
    return 24;
}
Result<Irq> route_gsi(std::uint32_t gsi, Trigger, Polarity, IrqHandler handler,
                      std::uint32_t cookie) noexcept {
    if (gsi >= gsi_count())
        return Errno::nodev;
    state().irqs[gsi] = {handler, cookie, true, 0};
    return Irq{gsi};
}
Result<Irq> allocate_msi(PciAddress, std::uint32_t, std::uint64_t, IrqHandler handler,
                         std::uint32_t cookie) noexcept {
    std::uint32_t n = 100;
    while (state().irqs.contains(n))
        ++n;
    state().irqs[n] = {handler, cookie, false, 0};
    return Irq{n};
}
void release_irq(Irq irq) noexcept {
    state().irqs.erase(irq.raw());
}
void irq_eoi(Irq irq) noexcept {
    ++state().irqs[irq.raw()].eois;
}
void irq_mask(Irq irq) noexcept {
    state().irqs[irq.raw()].masked = true;
}
void irq_unmask(Irq irq) noexcept {
    state().irqs[irq.raw()].masked = false;
}
bool irq_needs_eoi(Irq irq) noexcept {
    return irq.raw() < 24 && irq.raw() >= 16;
}
void irq_set_affinity(Irq, CpuId) noexcept {}

void power_off() noexcept {
    _exit(10);
}
void reboot() noexcept {
    _exit(11);
}

Status set_trap_table(Vcpu&, std::uint64_t) noexcept {
    return {};
}
Status set_gdt(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Status stack_switch(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Status set_callbacks(Vcpu&, std::uint64_t, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Status fpu_taskswitch(Vcpu&, std::uint64_t) noexcept {
    return {};
}
Status set_debugreg(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Result<std::int64_t> get_debugreg(Vcpu&, std::uint64_t) noexcept {
    return std::int64_t{0};
}
Status set_segment_base(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Status nmi_op(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}
Status callback_op(Vcpu&, std::uint64_t, std::uint64_t) noexcept {
    return {};
}

} // namespace cero::arch

extern "C" std::int64_t hypercall_iret(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                       std::uint64_t) {
    return 0;
}

namespace cero {
namespace {

unsigned held[static_cast<unsigned>(LockRank::count)];

} // namespace

void note_lock_taken(LockRank rank) {
    for (unsigned n = static_cast<unsigned>(rank) + 1; n < static_cast<unsigned>(LockRank::count);
         ++n)
        if (held[n] != 0)
            arch::panic("lock rank %u taken while %u is held", static_cast<unsigned>(rank), n);
    ++held[static_cast<unsigned>(rank)];
}
void note_lock_released(LockRank rank) {
    --held[static_cast<unsigned>(rank)];
}

} // namespace cero
