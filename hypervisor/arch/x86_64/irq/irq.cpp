// SPDX-License-Identifier: BSD-2-Clause
// Routed interrupts: one vector each, the same on every CPU; the dispatcher of all interrupt
// vectors.

#include <arch/api/console.hpp>
#include <arch/api/cpu.hpp>
#include <arch/x86_64/irq/ioapic.hpp>
#include <arch/x86_64/irq/lapic.hpp>
#include <arch/x86_64/irq/msi.hpp>
#include <core/lock.hpp>

namespace cero::arch {
namespace {

enum class Kind : std::uint8_t { none, pin, message };
struct Line {
    Kind kind;
    Trigger trigger;
    Polarity polarity;
    bool masked;
    bool is_own; ///< of a device that the hypervisor drives
    std::uint32_t gsi;
    CpuId cpu;
    IrqHandler handler;
    std::uint32_t cookie;
    MsiTarget target;
};
constexpr unsigned line_count = vector::last_device - vector::first_device + 1;
Line lines[line_count]; // index: vector - first_device; changed under the lock, read by handlers
constinit Spinlock<LockRank::irq_line> line_lock;

Line* line_of(Irq irq) noexcept {
    const std::uint32_t n = irq.raw() - vector::first_device;
    return n < line_count && lines[n].kind != Kind::none ? &lines[n] : nullptr;
}
Irq irq_of(const Line& line) noexcept { return Irq{static_cast<std::uint32_t>(&line - lines) + vector::first_device}; }
std::uint32_t apic_id_of(CpuId cpu) noexcept { return cpu_area(cpu).apic_id; }

Line* free_line() noexcept {
    for (Line& line : lines)
        if (line.kind == Kind::none && irq_of(line).raw() != vector::int80) return &line;
    return nullptr;
}
void apply(const Line& line) noexcept {
    if (line.kind == Kind::pin)
        ioapic::program(line.gsi, irq_of(line).raw(), apic_id_of(line.cpu), line.trigger, line.polarity, line.masked);
    else
        msi_write(line.target, irq_of(line).raw(), apic_id_of(line.cpu));
}

Result<Irq> route(std::uint32_t gsi, Trigger trigger, Polarity polarity, IrqHandler handler, std::uint32_t cookie,
                  bool is_own) noexcept {
    if (!ioapic::has_pin(gsi)) return Errno::nodev;
    const LockGuard guard{line_lock};
    Line* line = nullptr;
    for (Line& candidate : lines)
        if (candidate.kind == Kind::pin && candidate.gsi == gsi) line = &candidate;
    if (line != nullptr && line->is_own) return Errno::busy;
    if (line == nullptr && (line = free_line()) == nullptr) return Errno::nospc;
    *line = {Kind::pin, trigger, polarity, true, is_own, gsi, CpuId{0}, handler, cookie, {}};
    apply(*line);
    return irq_of(*line);
}

void set_masked(Irq irq, bool masked) noexcept {
    const LockGuard guard{line_lock};
    Line* line = line_of(irq);
    if (line == nullptr || line->kind != Kind::pin) return;
    line->masked = masked;
    ioapic::set_mask(line->gsi, masked);
}

} // namespace

std::uint32_t gsi_count() noexcept { return ioapic::gsi_count(); }

Result<Irq> route_gsi(std::uint32_t gsi, Trigger trigger, Polarity polarity, IrqHandler handler,
                      std::uint32_t cookie) noexcept {
    return route(gsi, trigger, polarity, handler, cookie, false);
}
Result<Irq> route_own_gsi(std::uint32_t gsi, Trigger trigger, Polarity polarity, IrqHandler handler) noexcept {
    return route(gsi, trigger, polarity, handler, 0, true);
}

Result<Irq> allocate_msi(PciAddress address, std::uint32_t entry, std::uint64_t table, IrqHandler handler,
                         std::uint32_t cookie) noexcept {
    const MsiTarget target = TRY(msi_claim(address, entry, table));
    const LockGuard guard{line_lock};
    Line* line = free_line();
    if (line == nullptr) return Errno::nospc;
    *line = {Kind::message, Trigger::edge, Polarity::high, false, false, 0, CpuId{0}, handler, cookie, target};
    apply(*line);
    return irq_of(*line);
}

void release_irq(Irq irq) noexcept {
    const LockGuard guard{line_lock};
    Line* line = line_of(irq);
    if (line == nullptr) return;
    if (line->kind == Kind::pin)
        ioapic::set_mask(line->gsi, true);
    else
        msi_clear(line->target);
    line->kind = Kind::none;
}

void irq_mask(Irq irq) noexcept { set_masked(irq, true); }
void irq_unmask(Irq irq) noexcept { set_masked(irq, false); }
void irq_eoi(Irq irq) noexcept {
    if (irq_needs_eoi(irq)) irq_unmask(irq);
}

bool irq_needs_eoi(Irq irq) noexcept {
    const Line* line = line_of(irq);
    return line != nullptr && line->kind == Kind::pin && line->trigger == Trigger::level;
}

void irq_set_affinity(Irq irq, CpuId cpu) noexcept {
    const LockGuard guard{line_lock};
    Line* line = line_of(irq);
    if (line == nullptr || line->cpu == cpu || !online_cpus().contains(cpu)) return;
    line->cpu = cpu;
    apply(*line);
}

namespace {

/// A level interrupt stays masked until irq_eoi(): its guest answers later than the APIC can wait.
void handle_device(unsigned vector) noexcept {
    const Line* line = line_of(Irq{vector});
    if (irq_needs_eoi(Irq{vector})) irq_mask(Irq{vector});
    lapic::eoi();
    if (line != nullptr && line->handler != nullptr) line->handler(line->cookie);
}

} // namespace

/// From entry.S, and from interrupts that met the hypervisor idle or in a window.
extern "C" void handle_interrupt(unsigned vector) noexcept {
    switch (vector) {
    case vector::timer: raise_softirq(Softirq::timer); [[fallthrough]];
    case vector::reschedule: // its sender has left the reason in a flag that the way out reads
    case vector::error: return lapic::eoi();
    case vector::message: lapic::eoi(); return service_remote_requests();
    default: // the spurious one among them
        if (vector >= vector::first_device && vector <= vector::last_device) handle_device(vector);
    }
}

} // namespace cero::arch
