// SPDX-License-Identifier: BSD-2-Clause
// Hypercall memory_op: dispatch, memory maps, the machine-to-physical table.
#include <core/memory/memory_op.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/memory.hpp>
#include <core/domain/domain.hpp>
#include <core/guest/guest_ptr.hpp>
#include <core/memory/reservation.hpp>

#include <cero/abi/hypercall.h>
#include <cero/abi/memory.h>

namespace cero {

namespace {

using Answer = Result<std::int64_t>;

/// DOMID_SELF and the caller's own id for anybody, others for the control domain.
Result<DomainRef> subject_of(Vcpu& current, DomainId id) noexcept {
    Domain& self = *current.domain;
    const bool own = id == domid_self || id == self.id;
    if (!own && !self.is_control) return Errno::perm;
    DomainRef domain = find_domain(own ? self.id : id);
    if (!domain) return Errno::srch;
    return domain;
}

Answer reservation_size(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept {
    const cero_domid id = TRY(GuestPtr<cero_domid>{argument}.read());
    const DomainRef domain = TRY(subject_of(current, DomainId{id}));
    const MemoryAccount& memory = domain->memory;
    const auto& count = command == CERO_XENMEM_current_reservation ? memory.total_pages : memory.max_pages;
    return static_cast<std::int64_t>(count.load(Order::relaxed));
}

/// Copies `count` entries made by `entry_at(n)` and writes the number back.
template <typename EntryAt>
Answer copy_map(GuestPtr<cero_memory_map> pointer, std::uint32_t count, EntryAt&& entry_at) noexcept {
    cero_memory_map map = TRY(pointer.read());
    if (map.buffer == 0) {
        map.nr_entries = count;
        TRY(pointer.write(map));
        return 0;
    }
    if (map.nr_entries < count) return Errno::inval;
    const GuestPtr<cero_e820_entry> buffer{map.buffer};
    for (std::uint32_t n = 0; n < count; ++n) TRY(buffer.at(n).write(entry_at(n)));
    map.nr_entries = count;
    TRY(pointer.write(map));
    return 0;
}

Answer memory_map(Vcpu& current, std::uint64_t argument) noexcept {
    const MemoryAccount& memory = current.domain->memory;
    if (memory.map_entries == 0) return Errno::nosys;
    return copy_map(GuestPtr<cero_memory_map>{argument}, memory.map_entries,
                    [&](std::uint32_t n) { return memory.map[n]; });
}

Answer machine_memory_map(Vcpu& current, std::uint64_t argument) noexcept {
    if (!current.domain->is_control) return Errno::perm;
    const auto ranges = arch::memory_map();
    return copy_map(
        GuestPtr<cero_memory_map>{argument}, static_cast<std::uint32_t>(ranges.size()), [&](std::uint32_t n) {
            return cero_e820_entry{ranges[n].base, ranges[n].size, static_cast<std::uint32_t>(ranges[n].type)};
        });
}

Answer set_memory_map(Vcpu& current, std::uint64_t argument) noexcept {
    if (!current.domain->is_control) return Errno::perm;
    const auto request = TRY(GuestPtr<cero_foreign_memory_map>{argument}.read());
    if (request.map.nr_entries > MemoryAccount::max_map_entries) return Errno::inval;
    const DomainRef domain = TRY(subject_of(current, DomainId{request.domid}));
    cero_e820_entry entries[MemoryAccount::max_map_entries];
    const GuestSpan source{GuestPtr<cero_e820_entry>{request.map.buffer}, request.map.nr_entries};
    TRY(source.read_many(0, entries, source.size()));
    MemoryAccount& memory = domain->memory;
    LockGuard guard{domain->lock};
    for (std::uint32_t n = 0; n < request.map.nr_entries; ++n) memory.map[n] = entries[n];
    memory.map_entries = request.map.nr_entries;
    return 0;
}

Answer machphys_mapping(std::uint64_t argument) noexcept {
    const cero_machphys_mapping answer{CERO_M2P_VIRT_START, CERO_M2P_VIRT_END, arch::max_frame().raw() - 1};
    TRY(GuestPtr<cero_machphys_mapping>{argument}.write(answer));
    return 0;
}

} // namespace

Answer memory_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept {
    const std::uint64_t start = command >> CERO_MEMOP_EXTENT_SHIFT;
    switch (command & CERO_MEMOP_CMD_MASK) {
    case CERO_XENMEM_increase_reservation:
    case CERO_XENMEM_decrease_reservation:
    case CERO_XENMEM_populate_physmap:
        return change_reservation(current, command & CERO_MEMOP_CMD_MASK, argument, start);
    case CERO_XENMEM_exchange: return exchange_memory(current, argument);
    case CERO_XENMEM_maximum_ram_page: return static_cast<std::int64_t>(arch::max_frame().raw() - 1);
    case CERO_XENMEM_current_reservation:
    case CERO_XENMEM_maximum_reservation: return reservation_size(current, command & CERO_MEMOP_CMD_MASK, argument);
    case CERO_XENMEM_memory_map: return memory_map(current, argument);
    case CERO_XENMEM_machine_memory_map: return machine_memory_map(current, argument);
    case CERO_XENMEM_set_memory_map: return set_memory_map(current, argument);
    case CERO_XENMEM_machphys_mapping: return machphys_mapping(argument);
    case CERO_XENMEM_machphys_mfn_list:
    case CERO_XENMEM_add_to_physmap:
    case CERO_XENMEM_add_to_physmap_batch:
    case CERO_XENMEM_remove_from_physmap:
    case CERO_XENMEM_acquire_resource: return Errno::opnotsupp;
    default: return Errno::nosys;
    }
}

} // namespace cero
