// SPDX-License-Identifier: BSD-2-Clause
// The end: registers, a symbolised backtrace, and a stop.
#include <arch/api/vcpu.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/guest/emulator.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/smp/smp.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <cero/lib/format.hpp>
#include <platform/log/log.hpp>

extern "C" {
extern const char image_text_start[], image_rodata_start[], sysenter_entry[], sysenter_ready[];
/// Made by tools after the first link: count, then per function its offset in the image and the
/// offset of its name; then the names. Empty (weak) in the first link.
extern const std::uint32_t symbol_table[];
extern const char symbol_names[];
extern const std::uint32_t symbol_count;
}

namespace cero::arch {
namespace {

using platform::log_emergency;

Atomic<std::uint32_t> panicking;

bool is_text(std::uint64_t address) noexcept {
    return address >= reinterpret_cast<std::uint64_t>(image_text_start) &&
           address < reinterpret_cast<std::uint64_t>(image_rodata_start);
}

bool on_a_stack(std::uint64_t address) noexcept {
    const auto stack_top = reinterpret_cast<std::uint64_t>(&this_cpu()) + (1ull << CERO_CPU_AREA_SHIFT);
    return address >= reinterpret_cast<std::uint64_t>(&this_cpu()) && address + 16 <= stack_top && address % 8 == 0;
}

/// With the function that the address lies in. The symbol table is put in after linking.
void print_frame(std::uint64_t address) noexcept {
    if (!is_text(address)) return log_emergency("  %016lx", address);
    const auto offset = static_cast<std::uint32_t>(address - reinterpret_cast<std::uint64_t>(image_text_start));
    std::uint32_t low = 0, high = symbol_count;
    while (low < high) { // first symbol beyond the address
        const std::uint32_t middle = (low + high) / 2;
        if (symbol_table[middle * 2] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return log_emergency("  %016lx", address);
    const std::uint32_t* entry = &symbol_table[(low - 1) * 2];
    log_emergency("  %016lx %s+%#x", address, symbol_names + entry[1], offset - entry[0]);
}

void print_backtrace(std::uint64_t rip, std::uint64_t rbp) noexcept {
    log_emergency("backtrace:");
    if (rip != 0) print_frame(rip);
    constexpr unsigned deepest = 32;
    for (unsigned n = 0; n < deepest && on_a_stack(rbp); ++n) {
        const auto* frame = reinterpret_cast<const std::uint64_t*>(rbp);
        if (!is_text(frame[1])) return;
        print_frame(frame[1]);
        if (frame[0] <= rbp) return;
        rbp = frame[0];
    }
}

void print_registers(const GuestRegs& r) noexcept {
    log_emergency("rip %04lx:%016lx rsp %04lx:%016lx rflags %lx", r.cs, r.rip, r.ss, r.rsp, r.rflags);
    log_emergency("rax %016lx rbx %016lx rcx %016lx rdx %016lx", r.rax, r.rbx, r.rcx, r.rdx);
    log_emergency("rsi %016lx rdi %016lx rbp %016lx r8  %016lx", r.rsi, r.rdi, r.rbp, r.r8);
    log_emergency("r9  %016lx r10 %016lx r11 %016lx r12 %016lx", r.r9, r.r10, r.r11, r.r12);
    log_emergency("r13 %016lx r14 %016lx r15 %016lx", r.r13, r.r14, r.r15);
    log_emergency("cr2 %016lx cr3 %016lx vector %u error %x", read_cr2(), read_cr3(), r.entry_vector, r.error_code);
}

/// Only one CPU speaks; the others stop.
void take_the_floor() noexcept {
    if (panicking.exchange(1, Order::acq_rel) != 0) halt_forever();
    if (online_cpus() != CpuMask{}) stop_other_cpus();
}

[[noreturn]] void panic_with_registers(const GuestRegs& regs, const char* what) noexcept {
    take_the_floor();
    log_emergency("PANIC on cpu %u: %s", this_cpu().id, what);
    print_registers(regs);
    print_backtrace(regs.rip, regs.rbp);
    log_emergency("Cero stops here.");
    halt_forever();
}

} // namespace

void panic(const char* format, ...) noexcept {
    take_the_floor();
    char text[200];
    va_list args;
    va_start(args, format);
    vformat_to(text, sizeof text, format, args);
    va_end(args);
    log_emergency("PANIC on cpu %u: %s", this_cpu().id, text);
    print_backtrace(0, reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)));
    log_emergency("Cero stops here.");
    halt_forever();
}

extern "C" {
void handle_interrupt(unsigned vector) noexcept;

void trap_from_hypervisor(GuestRegs& regs) noexcept {
    if (regs.entry_vector >= 32) return handle_interrupt(regs.entry_vector);
    if (const std::uint64_t fixup = find_fixup(regs.rip); fixup != 0) {
        regs.rip = fixup;
        return;
    }
    panic_with_registers(regs, "exception in the hypervisor");
}

/// Sent by a CPU that panics; any other is the platform's, and is logged.
void non_maskable_interrupt(GuestRegs& regs) noexcept {
    const CpuArea& area = this_area();
    if (area.halted_by_panic) halt_forever();
    log_emergency("NMI on cpu %u at %04lx:%016lx", area.cpu.id, regs.cs, regs.rip);
}

void fatal_trap(GuestRegs& regs) noexcept {
    panic_with_registers(regs, regs.entry_vector == 18 ? "machine check" : "double fault");
}

/// A guest's breakpoint hit by the hypervisor's own access to guest memory: not the guest's to see. Or its single
/// step over SYSENTER, which goes on until its flags are saved.
void debug_from_hypervisor(GuestRegs& regs) noexcept {
    static_cast<void>(take_debug_status());
    if (regs.rip - reinterpret_cast<std::uint64_t>(sysenter_entry) >=
        static_cast<std::uint64_t>(sysenter_ready - sysenter_entry))
        regs.rflags &= ~rflags::tf;
}
} // extern "C"

} // namespace cero::arch
