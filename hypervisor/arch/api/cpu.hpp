// SPDX-License-Identifier: BSD-2-Clause
// CPUs: the per-CPU area, who is online, messages between CPUs, idling, preemption points.
#pragma once

#include <core/lock.hpp>
#include <core/types.hpp>

namespace cero::arch {

/// Work that an interrupt handler leaves for the way out; one bit each, lowest first.
enum class Softirq : std::uint32_t {
    timer,    ///< the CPU's timer expired: hv-core runs its timer queue
    schedule, ///< pick another vCPU
    console,  ///< serial input waits
    tasks,    ///< free for hv-core
};
constexpr std::uint32_t bit(Softirq softirq) noexcept { return 1u << static_cast<unsigned>(softirq); }

/// What a CPU finds at %gs:0. The first words are known to entry.S (asm_offsets.h).
struct PerCpu {
    PerCpu* self;
    Vcpu* current;           ///< the vCPU whose state is loaded, or this CPU's idle vCPU
    std::uint64_t regs_end;  ///< end of current's GuestRegs; equal to TSS.rsp0
    std::uint64_t stack_top; ///< of the CPU's only stack (besides the IST ones)
    std::uint64_t scratch;
    Atomic<std::uint32_t> softirqs;
    std::uint32_t id;
    std::uint32_t apic_id;
    void* core; ///< hv-core's own per-CPU structure (run queue ...)
    Vcpu* idle; ///< set by hv-core before the CPU schedules
};

#ifdef CERO_HOST_TEST
PerCpu& this_cpu() noexcept;
#else
inline PerCpu& this_cpu() noexcept {
    PerCpu* self;
    __asm__("mov %%gs:0, %0" : "=r"(self));
    return *self;
}
#endif
inline CpuId this_cpu_id() noexcept { return CpuId{this_cpu().id}; }
inline Vcpu& current_vcpu() noexcept { return *this_cpu().current; }

/// Precondition: the CPU is present.
[[nodiscard]] PerCpu& cpu_area(CpuId cpu) noexcept;
[[nodiscard]] CpuMask online_cpus() noexcept;
[[nodiscard]] std::uint32_t cpu_count() noexcept; ///< CPUs are numbered 0 .. cpu_count() - 1

/// Sets the bit for this CPU's next way out.
void raise_softirq(Softirq softirq) noexcept;
/// Sets the bit on another CPU (or this one) and interrupts it when it does not notice otherwise.
void raise_softirq_on(CpuId cpu, Softirq softirq) noexcept;
/// Makes the CPU, which may be this one, pass its exit check: it schedules and looks at pending events of its vCPU.
void send_reschedule(CpuId cpu) noexcept;
/// Interrupts a CPU so that a running vCPU notices a new event; no scheduling.
void send_event_check(CpuId cpu) noexcept;
/// Runs `function(argument)` on every CPU of the mask, this one included, with interrupts off, and
/// waits.
void call_on(CpuMask cpus, void (*function)(void*), void* argument) noexcept;

/// A long operation calls this with no lock held: opens a window for interrupts. True when it
/// should become a continuation: softirqs wait, or the current vCPU has an event to take.
[[nodiscard]] bool preemption_point() noexcept;
void relax() noexcept;
/// Idle: sti; hlt; cli, unless a softirq waits already.
void halt_until_interrupt() noexcept;
/// Idle: lets pending interrupts in for an instant, between two pieces of background work.
void take_interrupts() noexcept;

} // namespace cero::arch
