// SPDX-License-Identifier: BSD-2-Clause
// Grant tables: growth, pins on entries, mapping records, and what happens at the owner's death.
#include <core/grant/grant_state.hpp>

#include <arch/api/cpu.hpp>

#include <new>

namespace cero {

using namespace grant;

namespace {

constexpr unsigned release_step = 256; ///< mappings released before the first preemption point

/// Flags and grantee of an entry: the half that is exchanged as one word. The guest writes it too.
using EntryHead = Atomic<std::uint32_t>;
struct Entry {
    EntryHead head; ///< flags, and the grantee's id above them
    Atomic<std::uint32_t> frame;
};
static_assert(sizeof(Entry) == sizeof(cero_grant_entry_v1));

constexpr std::uint32_t head_of(std::uint32_t flags, DomainId grantee) noexcept {
    return flags | (std::uint32_t{grantee.raw()} << 16);
}

Entry& entry_at(const GrantTable& table, GrantRef ref) noexcept {
    const MachineFrame frame{table.shared[ref.raw() / CERO_GRANT_ENTRIES_PER_PAGE]};
    return arch::frame_ptr<Entry>(frame)[ref.raw() % CERO_GRANT_ENTRIES_PER_PAGE];
}
Active& active_at(const GrantTable& table, GrantRef ref) noexcept {
    const MachineFrame frame{table.active[ref.raw() / CERO_GRANT_ENTRIES_PER_PAGE]};
    return arch::frame_ptr<Active>(frame)[ref.raw() % CERO_GRANT_ENTRIES_PER_PAGE];
}
bool has_entry(const GrantTable& table, GrantRef ref) noexcept {
    return ref.raw() < table.frames * CERO_GRANT_ENTRIES_PER_PAGE;
}
Mapping& mapping_at(const GrantTable& table, std::uint32_t handle) noexcept {
    const MachineFrame frame{table.maptrack[handle / mappings_per_page]};
    return arch::frame_ptr<Mapping>(frame)[handle % mappings_per_page];
}

/// Announces the use in the entry that the guest sees. False: the entry does not permit it.
bool announce(Entry& entry, DomainId grantee, Access access) noexcept {
    std::uint32_t head = entry.head.load(Order::acquire);
    const std::uint32_t use = CERO_GTF_reading | (access == Access::write ? CERO_GTF_writing : 0u);
    // The guest may be changing the entry all the time; it gets a few chances, not forever.
    for (int attempt = 0; attempt < 4; ++attempt) {
        if ((head & CERO_GTF_type_mask) != CERO_GTF_permit_access || (head & CERO_GTF_sub_page) != 0 ||
            head >> 16 != grantee.raw() || (access == Access::write && (head & CERO_GTF_readonly) != 0))
            return false;
        if ((head & use) == use || entry.head.compare_exchange(head, head | use, Order::acq_rel)) return true;
    }
    return false;
}

void withdraw(Entry& entry, const Active& active) noexcept {
    if (active.writers == 0) entry.head.fetch_and(~std::uint32_t{CERO_GTF_writing}, Order::release);
    if (active.writers == 0 && active.readers == 0)
        entry.head.fetch_and(~std::uint32_t{CERO_GTF_reading}, Order::release);
}

Status take_references(MachineFrame frame, DomainSlot owner, Access access, unsigned count) noexcept {
    if (!frame_look(frame).is(FrameWord::allocated)) return Errno::inval;
    if (access == Access::write) return frame_get_writable(frame, owner, count);
    for (unsigned n = 0; n < count; ++n) {
        if (const Status status = frame_get(frame, owner); !status) {
            while (n-- > 0) frame_put(frame);
            return status.error();
        }
    }
    return {};
}

/// Adds a page of mapping records to the free list. Lock held.
bool grow_maptrack(GrantTable& table) noexcept {
    if (table.maptrack_pages == GrantTable::max_maptrack_pages) return false;
    auto frame = allocate_hypervisor_frame();
    if (!frame) return false;
    const std::uint32_t first = table.maptrack_pages * mappings_per_page;
    table.maptrack[table.maptrack_pages] = static_cast<std::uint32_t>(frame->raw());
    // The record array is read without the lock.
    __atomic_store_n(&table.maptrack_pages, table.maptrack_pages + 1, __ATOMIC_RELEASE);
    for (std::uint32_t n = mappings_per_page; n-- > 0;) {
        mapping_at(table, first + n).ref = table.free_handle;
        table.free_handle = first + n;
    }
    return true;
}

void free_pages(GrantTable& table) noexcept {
    while (table.frames > 0) {
        const std::uint32_t page = --table.frames;
        unshare_frame(MachineFrame{table.shared[page]});
        free_hypervisor_frame(MachineFrame{table.active[page]});
    }
    while (table.maptrack_pages > 0) free_hypervisor_frame(MachineFrame{table.maptrack[--table.maptrack_pages]});
    table.free_handle = no_handle;
}

} // namespace

namespace grant {

Pinned pin(Domain& granter, GrantRef ref, Domain& grantee, Access access, unsigned references) noexcept {
    GrantTable& table = *granter.grants;
    LockGuard guard{table.lock};
    if (!has_entry(table, ref)) return {CERO_GNTST_bad_gntref, {}};
    Entry& entry = entry_at(table, ref);
    Active& active = active_at(table, ref);
    const bool in_use = (active.readers | active.writers) != 0;
    if ((in_use && active.grantee != grantee.slot.raw()) || active.readers == max_pins || active.writers == max_pins ||
        !announce(entry, grantee.id, access))
        return {CERO_GNTST_general_error, {}};
    const MachineFrame frame{in_use ? active.frame : entry.frame.load(Order::acquire)};
    if (!take_references(frame, granter.slot, access, references)) {
        withdraw(entry, active);
        return {CERO_GNTST_general_error, {}};
    }
    active.frame = static_cast<std::uint32_t>(frame.raw());
    active.grantee = grantee.slot.raw();
    ++(access == Access::write ? active.writers : active.readers);
    return {CERO_GNTST_okay, frame};
}

void unpin(Domain& granter, GrantRef ref, Access access) noexcept {
    if (granter.grants == nullptr) return;
    GrantTable& table = *granter.grants;
    LockGuard guard{table.lock};
    if (!has_entry(table, ref)) return; // the granter has died; its table is closed
    Active& active = active_at(table, ref);
    --(access == Access::write ? active.writers : active.readers);
    withdraw(entry_at(table, ref), active);
}

std::uint32_t take_handle(Domain& domain) noexcept {
    GrantTable& table = *domain.grants;
    LockGuard guard{table.lock};
    if (table.free_handle == no_handle && !grow_maptrack(table)) [[unlikely]]
        return no_handle;
    const std::uint32_t handle = table.free_handle;
    table.free_handle = mapping_at(table, handle).ref;
    ++table.live_mappings;
    return handle;
}

void give_handle(Domain& domain, std::uint32_t handle) noexcept {
    GrantTable& table = *domain.grants;
    LockGuard guard{table.lock};
    mapping_at(table, handle).ref = table.free_handle;
    table.free_handle = handle;
    --table.live_mappings;
}

void set_mapping(Domain& domain, std::uint32_t handle, const Mapping& mapping) noexcept {
    Mapping& record = mapping_at(*domain.grants, handle);
    record.ref = mapping.ref;
    record.frame = mapping.frame;
    record.granter = mapping.granter;
    // From here on the guest's other vCPUs can name it.
    __atomic_store_n(&record.flags, mapping.flags, __ATOMIC_RELEASE);
}

Mapping claim_mapping(Domain& domain, std::uint32_t handle) noexcept {
    const GrantTable& table = *domain.grants;
    if (handle >= __atomic_load_n(&table.maptrack_pages, __ATOMIC_ACQUIRE) * mappings_per_page) return {};
    Mapping& record = mapping_at(table, handle);
    const std::uint16_t flags = __atomic_exchange_n(&record.flags, 0, __ATOMIC_ACQUIRE);
    if (flags == 0) return {};
    return {record.ref, record.frame, record.granter, flags, 0};
}

} // namespace grant

Status GrantTable::create(Domain& domain) noexcept {
    static_assert(sizeof(GrantTable) <= page_size);
    const MachineFrame frame = TRY(allocate_hypervisor_frame());
    domain.grants = ::new (arch::direct_map(frame)) GrantTable;
    return {};
}

Status GrantTable::grow(Domain& owner, unsigned count) noexcept {
    if (count > max_frames) return Errno::inval;
    LockGuard guard{lock};
    if (owner.is_dying()) return Errno::inval;
    while (frames < count) {
        const MachineFrame state = TRY(allocate_hypervisor_frame());
        const auto page = share_frame_with(owner);
        if (!page) {
            free_hypervisor_frame(state);
            return page.error();
        }
        active[frames] = static_cast<std::uint32_t>(state.raw());
        shared[frames] = static_cast<std::uint32_t>((*page).raw());
        ++frames;
    }
    return {};
}

Status GrantTable::seed(Domain& owner, GrantRef ref, DomainId grantee, MachineFrame frame) noexcept {
    if (ref.raw() >= CERO_GNTTAB_NR_RESERVED_ENTRIES) return Errno::inval;
    TRY(grow(owner, 1));
    LockGuard guard{lock};
    Entry& entry = entry_at(*this, ref);
    entry.frame.store(static_cast<std::uint32_t>(frame.raw()), Order::relaxed);
    entry.head.store(head_of(CERO_GTF_permit_access, grantee), Order::release);
    return {};
}

Status GrantTable::release_mappings(Domain& owner) noexcept {
    unsigned released = 0;
    for (std::uint32_t handle = 0; handle < maptrack_pages * mappings_per_page; ++handle) {
        if (live_mappings == 0) break;
        if (released >= release_step && arch::preemption_point()) return Errno::restart;
        const Mapping mapping = claim_mapping(owner, handle);
        if (mapping.flags == 0) continue;
        ++released;
        unpin(*domain_in_slot(DomainSlot{mapping.granter}), GrantRef{mapping.ref}, mapping.access());
        put_frame(MachineFrame{mapping.frame}, mapping.access());
        give_handle(owner, handle);
    }
    LockGuard guard{lock};
    free_pages(*this);
    return {};
}

void GrantTable::destroy(Domain& owner) noexcept {
    GrantTable* table = owner.grants;
    if (table == nullptr) return;
    owner.grants = nullptr;
    free_pages(*table);
    table->~GrantTable();
    free_hypervisor_frame(arch::frame_of(table));
}

} // namespace cero
