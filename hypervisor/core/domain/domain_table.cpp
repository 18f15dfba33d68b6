// SPDX-License-Identifier: BSD-2-Clause
// The table of domains: identifiers, slots, references.
#include <core/domain/domain_internal.hpp>

#include <arch/api/cpu.hpp>

namespace cero {
namespace {

Spinlock<LockRank::table> table_lock;
Domain* table[max_domain_slots];
Domain* first_domain;
std::uint16_t last_id;

constexpr unsigned slot_count = last_domain_slot - first_domain_slot + 1;

/// The n-th slot to look at for an id: consecutive ones from a start that the id gives.
unsigned probe(DomainId id, unsigned n) noexcept { return first_domain_slot + (id.raw() + n) % slot_count; }

/// Counts a reference unless the last one has gone already. Table lock held.
DomainRef try_reference(Domain* domain) noexcept {
    std::uint32_t refs = domain->refs.load(Order::relaxed);
    while (refs != 0)
        if (domain->refs.compare_exchange(refs, refs + 1, Order::acquire)) return DomainRef{domain};
    return {};
}

Domain* look_up(DomainId id) noexcept {
    for (unsigned n = 0; n < slot_count; ++n) {
        Domain* domain = table[probe(id, n)];
        if (domain != nullptr && domain->id == id && domain->life.load(Order::relaxed) != DomainLife::dead)
            return domain;
    }
    return nullptr;
}

} // namespace

DomainRef find_domain(DomainId id) {
    if (id == domid_self) {
        Domain* self = arch::current_vcpu().domain;
        DomainRef::acquire(*self);
        return DomainRef{self};
    }
    LockGuard guard{table_lock};
    Domain* domain = look_up(id);
    return domain == nullptr ? DomainRef{} : try_reference(domain);
}

DomainRef next_domain(DomainId id) {
    LockGuard guard{table_lock};
    Domain* best = nullptr;
    for (unsigned n = first_domain_slot; n <= last_domain_slot; ++n) {
        Domain* domain = table[n];
        if (domain != nullptr && domain->id >= id && (best == nullptr || domain->id < best->id) &&
            domain->life.load(Order::relaxed) != DomainLife::dead)
            best = domain;
    }
    return best == nullptr ? DomainRef{} : try_reference(best);
}

Domain* domain_in_slot(DomainSlot slot) noexcept {
    return __atomic_load_n(&table[slot.raw() % max_domain_slots], __ATOMIC_ACQUIRE);
}

Domain* control_domain() noexcept { return first_domain; }

Result<DomainId> free_domain_id() {
    LockGuard guard{table_lock};
    std::uint16_t id = last_id;
    for (unsigned n = 0; n < CERO_DOMID_FIRST_RESERVED; ++n) {
        id = id + 1u >= CERO_DOMID_FIRST_RESERVED ? std::uint16_t{1} : static_cast<std::uint16_t>(id + 1);
        if (look_up(DomainId{id}) == nullptr) {
            last_id = id;
            return DomainId{id};
        }
    }
    return Errno::nospc;
}

Status enter_table(Domain& domain) {
    LockGuard guard{table_lock};
    if (look_up(domain.id) != nullptr) return Errno::exist;
    for (unsigned n = 0; n < slot_count; ++n) {
        const unsigned slot = probe(domain.id, n);
        if (table[slot] != nullptr) continue;
        domain.slot = DomainSlot{static_cast<std::uint16_t>(slot)};
        __atomic_store_n(&table[slot], &domain, __ATOMIC_RELEASE);
        if (domain.is_control) first_domain = &domain;
        return {};
    }
    return Errno::nospc;
}

void leave_table(Domain& domain) {
    LockGuard guard{table_lock};
    table[domain.slot.raw()] = nullptr;
    if (first_domain == &domain) first_domain = nullptr;
}

void DomainRef::release(Domain& domain) noexcept {
    if (domain.refs.fetch_sub(1, Order::acq_rel) != 1) return;
    leave_table(domain);
    free_domain(domain);
}

} // namespace cero
