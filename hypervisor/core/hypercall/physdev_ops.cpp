// SPDX-License-Identifier: BSD-2-Clause
// physdev_op: interrupts, I/O privilege and PCI devices.
#include <core/hypercall/handlers.hpp>

#include <cero/abi/physdev.h>
#include <core/domain/pirq.hpp>

namespace cero {
namespace {

Status set_iopl(Vcpu& current, const cero_physdev_set_iopl& op) {
    if (op.iopl > 3) return Errno::inval;
    current.arch.guest_iopl = static_cast<std::uint8_t>(op.iopl);
    return {};
}

/// Ports follow the domain's rights, whatever its processes ask for.
Status set_iobitmap(Vcpu&, const cero_physdev_set_iobitmap& op) {
    return op.nr_ports <= 0x10000 ? Errno::ok : Errno::inval;
}

/// The caller's table and the entry of a pirq it may use.
struct Subject {
    PirqTable* table;
    PirqEntry* entry;
};
Result<Subject> subject(Vcpu& current, std::uint32_t pirq) {
    Domain& domain = *current.domain;
    if (pirq >= PirqTable::count) return Errno::inval;
    if (!domain.rights.pirqs.contains(pirq, pirq)) return Errno::perm;
    PirqTable* table = TRY(pirq::table_of(domain));
    return Subject{table, table->find(Pirq{pirq})};
}

Status eoi(Vcpu& current, const cero_physdev_eoi& op) {
    const Subject it = TRY(subject(current, op.irq));
    if (it.entry->routed) arch::irq_eoi(it.entry->irq);
    return {};
}

Status irq_status(Vcpu& current, cero_physdev_irq_status_query& op) {
    const Subject it = TRY(subject(current, op.irq));
    op.flags = it.entry->routed && arch::irq_needs_eoi(it.entry->irq) ? CERO_IRQSTAT_needs_eoi : 0;
    return {};
}

/// First free pirq that is not a pin. Table lock held.
Result<std::uint32_t> free_pirq(PirqTable& table) {
    for (std::uint32_t n = arch::gsi_count(); n < PirqTable::count; ++n)
        if (table.entries[n].kind == PirqEntry::Kind::free) return n;
    return Errno::nospc;
}

Status map_pin(Vcpu& current, cero_physdev_map_pirq& op) {
    if (op.index < 0 || static_cast<std::uint32_t>(op.index) >= arch::gsi_count() ||
        (op.pirq >= 0 && op.pirq != op.index))
        return Errno::inval;
    const Subject it = TRY(subject(current, static_cast<std::uint32_t>(op.index)));
    LockGuard guard{it.table->lock};
    it.entry->kind = PirqEntry::Kind::pin;
    op.pirq = op.index;
    return {};
}

Status map_message(Vcpu& current, cero_physdev_map_pirq& op) {
    Domain& domain = *current.domain;
    if (op.entry_nr < 0 || op.devfn < 0 || op.devfn > 0xff) return Errno::inval;
    PirqTable& table = *TRY(pirq::table_of(domain));
    LockGuard guard{table.lock};
    const std::uint32_t number = TRY(free_pirq(table));
    if (!domain.rights.pirqs.contains(number, number)) return Errno::perm;
    const arch::PciAddress address{static_cast<std::uint16_t>(op.bus >> 16), static_cast<std::uint8_t>(op.bus),
                                   static_cast<std::uint8_t>(op.devfn)};
    const arch::Irq irq = TRY(arch::allocate_msi(address, static_cast<std::uint32_t>(op.entry_nr), op.table_base,
                                                 &pirq::on_interrupt, pirq::cookie_of(domain, Pirq{number})));
    PirqEntry& entry = table.entries[number];
    entry.kind = PirqEntry::Kind::message;
    entry.irq = irq;
    entry.routed = true;
    op.pirq = static_cast<std::int32_t>(number);
    return {};
}

Status map_pirq(Vcpu& current, cero_physdev_map_pirq& op) {
    if (op.domid != CERO_DOMID_SELF && op.domid != current.domain->id.raw())
        return Errno::opnotsupp; // devices are given to other domains by passthrough only
    if (!current.domain->is_control) return Errno::perm;
    switch (op.type) {
    case CERO_MAP_PIRQ_TYPE_GSI: return map_pin(current, op);
    case CERO_MAP_PIRQ_TYPE_MSI:
    case CERO_MAP_PIRQ_TYPE_MSI_SEG: return map_message(current, op);
    default: return Errno::inval; // several vectors of plain MSI: drivers fall back to one
    }
}

Status unmap_pirq(Vcpu& current, const cero_physdev_unmap_pirq& op) {
    if (op.pirq < 0) return Errno::inval;
    const Subject it = TRY(subject(current, static_cast<std::uint32_t>(op.pirq)));
    LockGuard guard{it.table->lock};
    PirqEntry& entry = *it.entry;
    if (entry.kind == PirqEntry::Kind::free) return Errno::inval;
    if (entry.port.load(Order::relaxed) != 0) return Errno::busy;
    if (entry.routed) arch::release_irq(entry.irq);
    entry.routed = false;
    entry.kind = PirqEntry::Kind::free;
    return {};
}

Status setup_gsi(Vcpu& current, const cero_physdev_setup_gsi& op) {
    if (!current.domain->is_control) return Errno::perm;
    if (op.gsi < 0 || op.triggering > 1 || op.polarity > 1) return Errno::inval;
    const Subject it = TRY(subject(current, static_cast<std::uint32_t>(op.gsi)));
    LockGuard guard{it.table->lock};
    if (it.entry->routed) return {}; // several devices share the pin; the first one's setting stays
    return pirq::route_pin(*current.domain, *it.table, Pirq{static_cast<std::uint32_t>(op.gsi)},
                           op.triggering == 0 ? arch::Trigger::edge : arch::Trigger::level,
                           op.polarity == 0 ? arch::Polarity::high : arch::Polarity::low);
}

Status get_free_pirq(Vcpu& current, cero_physdev_get_free_pirq& op) {
    if (!current.domain->is_control) return Errno::perm;
    PirqTable& table = *TRY(pirq::table_of(*current.domain));
    LockGuard guard{table.lock};
    op.pirq = TRY(free_pirq(table));
    return {};
}

} // namespace

Status physdev_op(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    switch (command) {
    case CERO_PHYSDEVOP_set_iopl: return with_structure(current, argument, &set_iopl);
    case CERO_PHYSDEVOP_set_iobitmap: return with_structure(current, argument, &set_iobitmap);
    case CERO_PHYSDEVOP_eoi: return with_structure(current, argument, &eoi);
    case CERO_PHYSDEVOP_irq_status_query: return with_structure(current, argument, &irq_status);
    case CERO_PHYSDEVOP_map_pirq: return with_structure(current, argument, &map_pirq);
    case CERO_PHYSDEVOP_unmap_pirq: return with_structure(current, argument, &unmap_pirq);
    case CERO_PHYSDEVOP_setup_gsi: return with_structure(current, argument, &setup_gsi);
    case CERO_PHYSDEVOP_get_free_pirq: return with_structure(current, argument, &get_free_pirq);
    case CERO_PHYSDEVOP_manage_pci_add:
    case CERO_PHYSDEVOP_manage_pci_add_ext:
    case CERO_PHYSDEVOP_manage_pci_remove:
    case CERO_PHYSDEVOP_pci_device_add:
    case CERO_PHYSDEVOP_pci_device_remove:
    case CERO_PHYSDEVOP_pci_mmcfg_reserved:
    case CERO_PHYSDEVOP_prepare_msix:
    case CERO_PHYSDEVOP_release_msix:
    case CERO_PHYSDEVOP_restore_msi_ext:
        // Without an IOMMU there is nothing to record about a device.
        return current.domain->is_control ? Errno::ok : Errno::perm;
    default: return Errno::nosys;
    }
}

} // namespace cero
