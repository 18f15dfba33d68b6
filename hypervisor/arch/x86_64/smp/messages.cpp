// SPDX-License-Identifier: BSD-2-Clause
// Messages between CPUs: TLB shootdowns and calls. One is in flight at a time; its sender waits,
// and whoever waits for the right to send answers the one in flight, so a CPU that spins with
// interrupts off is no obstacle.
#include <arch/api/console.hpp>
#include <arch/api/tlb.hpp>
#include <arch/x86_64/cpu/cpu_area.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/smp/smp.hpp>

namespace cero::arch {
namespace {

enum class Kind : std::uint8_t { flush_all, flush_page, call };
struct Message {
    Kind kind;
    std::uint64_t address;
    void (*function)(void*);
    void* argument;
};

Atomic<std::uint64_t> online;
Atomic<std::uint32_t> sending; ///< the right to send
Message in_flight;             ///< written by the sender before `waiting` is
Atomic<std::uint64_t> waiting; ///< CPUs that have not answered yet; pairs release with acquire

void perform(const Message& message) noexcept {
    switch (message.kind) {
    case Kind::flush_all: tlb_flush_local(); break;
    case Kind::flush_page: tlb_flush_local_page(GuestVirt{message.address}); break;
    case Kind::call: message.function(message.argument); break;
    }
}

/// The others of a set that are online.
CpuMask others(CpuMask cpus) noexcept {
    CpuMask rest = cpus & online_cpus();
    rest.remove(this_cpu_id());
    return rest;
}

void send_and_wait(CpuMask targets, const Message& what) noexcept {
    while (sending.exchange(1, Order::acquire) != 0) {
        service_remote_requests();
        relax();
    }
    in_flight = what;
    waiting.store(targets.raw(), Order::seq_cst);
    targets.for_each([](CpuId cpu) { lapic::send_ipi(cpu_area(cpu).apic_id, vector::message); });
    while (waiting.load(Order::acquire) != 0) relax();
    sending.store(0, Order::release);
}

/// All of the set perform it, this CPU last.
void perform_on(CpuMask cpus, const Message& what) noexcept {
    const CpuMask rest = others(cpus);
    if (!rest.empty()) send_and_wait(rest, what);
    if (cpus.contains(this_cpu_id())) perform(what);
}

} // namespace

void set_cpu_online(CpuId cpu) noexcept { online.fetch_or(CpuMask::of(cpu).raw(), Order::seq_cst); }
CpuMask online_cpus() noexcept { return CpuMask{online.load(Order::relaxed)}; }

void service_remote_requests(bool calls) noexcept {
    const std::uint64_t me = CpuMask::of(this_cpu_id()).raw();
    if ((waiting.load(Order::acquire) & me) == 0 || (in_flight.kind == Kind::call && !calls)) return;
    perform(in_flight);
    waiting.fetch_and(~me, Order::acq_rel);
}

void call_on(CpuMask cpus, void (*function)(void*), void* argument) noexcept {
    perform_on(cpus, {Kind::call, 0, function, argument});
}

void tlb_flush_local() noexcept { write_cr3(read_cr3()); }
void tlb_flush_local_page(GuestVirt address) noexcept {
    __asm__ volatile("invlpg (%0)" : : "r"(address.raw()) : "memory");
}
void tlb_flush(CpuMask cpus) noexcept { perform_on(cpus, {Kind::flush_all, 0, nullptr, nullptr}); }
void tlb_flush_page(CpuMask cpus, GuestVirt address) noexcept {
    if (is_canonical(address.raw())) perform_on(cpus, {Kind::flush_page, address.raw(), nullptr, nullptr});
}

void raise_softirq(Softirq softirq) noexcept { this_cpu().softirqs.fetch_or(bit(softirq), Order::relaxed); }
void raise_softirq_on(CpuId cpu, Softirq softirq) noexcept {
    PerCpu& area = cpu_area(cpu);
    const std::uint32_t before = area.softirqs.fetch_or(bit(softirq), Order::seq_cst);
    if (cpu != this_cpu_id() && (before & bit(softirq)) == 0) lapic::send_ipi(area.apic_id, vector::reschedule);
}
void send_reschedule(CpuId cpu) noexcept { raise_softirq_on(cpu, Softirq::schedule); }
void send_event_check(CpuId cpu) noexcept {
    if (cpu != this_cpu_id()) lapic::send_ipi(cpu_area(cpu).apic_id, vector::reschedule);
}

void relax() noexcept { __builtin_ia32_pause(); }
void halt_until_interrupt() noexcept {
    if (this_cpu().softirqs.load(Order::seq_cst) == 0) __asm__ volatile("sti; hlt; cli" : : : "memory");
}
void take_interrupts() noexcept { __asm__ volatile("sti; nop; cli" : : : "memory"); }

void stop_other_cpus() noexcept {
    others(CpuMask::all()).for_each([](CpuId cpu) {
        area_of(cpu.raw()).halted_by_panic = true;
        lapic::send_nmi(cpu_area(cpu).apic_id);
    });
}

} // namespace cero::arch
