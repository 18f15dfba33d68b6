// SPDX-License-Identifier: BSD-2-Clause
// PirqTable: the physical interrupts that a domain handles. Pirqs below the number of IOAPIC pins
// are those pins; the others are given out for message-signalled interrupts.
#pragma once

#include <arch/api/irq.hpp>
#include <core/domain/domain.hpp>

namespace cero {

struct PirqEntry {
    enum class Kind : std::uint8_t { free, pin, message };
    Kind kind{Kind::free};
    bool routed{};              ///< irq is valid
    Atomic<std::uint16_t> port; ///< event channel; 0 = not bound
    arch::Irq irq{};
};

/// One page, made when the domain maps its first pirq.
struct PirqTable {
    static constexpr unsigned count = 256;
    Spinlock<LockRank::irq> lock;
    PirqEntry entries[count];
    /// Null for a number outside the table.
    [[nodiscard]] PirqEntry* find(Pirq pirq) noexcept { return pirq.raw() < count ? &entries[pirq.raw()] : nullptr; }
};
static_assert(sizeof(PirqTable) <= page_size);

namespace pirq {

/// The domain's table, made if need be.
Result<PirqTable*> table_of(Domain& domain);
/// Binding and unbinding of an event channel (event table lock held). bind routes a pin that was
/// not set up with its default trigger, and unmasks.
Status bind(Domain& domain, Pirq pirq, EventPort port, CpuId cpu);
void unbind(Domain& domain, Pirq pirq);
/// For routing: the handler of a device interrupt, and its cookie, which names the domain and its pirq.
void on_interrupt(std::uint32_t cookie);
[[nodiscard]] std::uint32_t cookie_of(const Domain& domain, Pirq pirq) noexcept;
/// Routes an IOAPIC pin to the domain. The table lock is held.
Status route_pin(Domain& domain, PirqTable& table, Pirq pirq, arch::Trigger trigger, arch::Polarity polarity);
/// Domain death: releases every interrupt and the table.
void release_all(Domain& domain);

} // namespace pirq
} // namespace cero
