// SPDX-License-Identifier: BSD-2-Clause
// Physical interrupts: routing to the domain that handles them.
#include <core/domain/pirq.hpp>

#include <core/event/event.hpp>
#include <core/frame/frame_table.hpp>

namespace cero::pirq {
void on_interrupt(std::uint32_t cookie) {
    Domain* domain = domain_in_slot(DomainSlot{static_cast<std::uint16_t>(cookie >> 16)});
    if (domain != nullptr) event::raise_pirq(*domain, Pirq{cookie & 0xffff});
}

std::uint32_t cookie_of(const Domain& domain, Pirq number) noexcept {
    return (std::uint32_t{domain.slot.raw()} << 16) | number.raw();
}

Result<PirqTable*> table_of(Domain& domain) {
    if (domain.pirqs == nullptr) {
        const MachineFrame frame = TRY(allocate_hypervisor_frame());
        auto* table = ::new (arch::direct_map(frame)) PirqTable;
        PirqTable* expected = nullptr;
        if (!__atomic_compare_exchange_n(&domain.pirqs, &expected, table, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            free_hypervisor_frame(frame);
    }
    return domain.pirqs;
}

Status route_pin(Domain& domain, PirqTable& table, Pirq number, arch::Trigger trigger, arch::Polarity polarity) {
    PirqEntry& entry = *table.find(number);
    entry.irq = TRY(arch::route_gsi(number.raw(), trigger, polarity, &on_interrupt, cookie_of(domain, number)));
    entry.routed = true;
    if (entry.port.load(Order::relaxed) != 0) arch::irq_unmask(entry.irq);
    return {};
}

Status bind(Domain& domain, Pirq number, EventPort port, CpuId cpu) {
    PirqTable& table = *TRY(table_of(domain));
    PirqEntry* entry = table.find(number);
    if (entry == nullptr) return Errno::inval;
    LockGuard guard{table.lock};
    if (entry->port.load(Order::relaxed) != 0) return Errno::exist;
    if (!entry->routed) {
        if (number.raw() >= arch::gsi_count()) return Errno::inval;
        const bool isa = number.raw() < 16;
        TRY(route_pin(domain, table, number, isa ? arch::Trigger::edge : arch::Trigger::level,
                      isa ? arch::Polarity::high : arch::Polarity::low));
        entry->kind = PirqEntry::Kind::pin;
    }
    entry->port.store(static_cast<std::uint16_t>(port.raw()), Order::release);
    arch::irq_set_affinity(entry->irq, cpu);
    arch::irq_unmask(entry->irq);
    return {};
}

void unbind(Domain& domain, Pirq number) {
    PirqTable* table = domain.pirqs;
    PirqEntry* entry = table == nullptr ? nullptr : table->find(number);
    if (entry == nullptr) return;
    LockGuard guard{table->lock};
    if (entry->routed) arch::irq_mask(entry->irq);
    entry->port.store(0, Order::release);
}

void release_all(Domain& domain) {
    PirqTable* table = domain.pirqs;
    if (table == nullptr) return;
    for (PirqEntry& entry : table->entries)
        if (entry.routed) arch::release_irq(entry.irq);
    domain.pirqs = nullptr;
    free_hypervisor_frame(arch::frame_of(table));
}

} // namespace cero::pirq
