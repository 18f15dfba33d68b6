// SPDX-License-Identifier: BSD-2-Clause
// The functions of the domain table that the memory code calls, over the fixture's domains.
#include "fixture.hpp"

namespace cero {

DomainRef find_domain(DomainId id) {
    if (id == domid_self)
        return find_domain(arch::current_vcpu().domain->id);
    for (const auto& [slot, domain] : test::DomainTable::by_slot) {
        if (domain->id == id && domain->life.load(Order::relaxed) != DomainLife::dead) {
            DomainRef::acquire(*domain);
            return DomainRef{domain};
        }
    }
    return {};
}

Domain* domain_in_slot(DomainSlot slot) noexcept {
    const auto found = test::DomainTable::by_slot.find(slot.raw());
    return found == test::DomainTable::by_slot.end() ? nullptr : found->second;
}

void DomainRef::release(Domain& domain) noexcept {
    if (domain.refs.fetch_sub(1, Order::acq_rel) == 1)
        test::DomainTable::freed.push_back(domain.id.raw());
}

} // namespace cero
