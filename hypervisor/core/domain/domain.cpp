// SPDX-License-Identifier: BSD-2-Clause
// Domains: the table of all, creation, shutdown, preemptible teardown.
#include <core/domain/domain.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/power.hpp>
#include <cero/lib/format.hpp>
#include <core/domain/pirq.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_table.hpp>
#include <core/grant/grant_table.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/paging/pte_rules.hpp>
#include <core/sched/scheduler.hpp>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

/// What a domain without one of its own points at: late readers find nothing, writers do no harm.
alignas(page_size) cero_shared_info no_shared_info;

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

/// Gives the domain a slot. exist, nospc.
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

constexpr unsigned order_of(std::size_t bytes) noexcept {
    unsigned order = 0;
    while ((page_size << order) < bytes) ++order;
    return order;
}

Status furnish(Domain& domain) {
    domain.shared_info_frame = TRY(share_frame_with(domain));
    domain.shared_info = arch::frame_ptr<cero_shared_info>(domain.shared_info_frame);
    for (cero_vcpu_info& info : domain.shared_info->vcpu_info) info.evtchn_upcall_mask = 1;
    publish_wall_clock(domain);
    return GrantTable::create(domain);
}

void unfurnish(Domain& domain) {
    const MachineFrame frame = domain.shared_info_frame;
    domain.shared_info = &no_shared_info;
    domain.shared_info_frame = invalid_frame;
    if (frame != invalid_frame) unshare_frame(frame);
}

Status teardown_step(Vcpu& current, Domain& domain) {
    switch (domain.teardown) {
    case TeardownStep::stop:
        domain.life.store(DomainLife::dying, Order::seq_cst);
        sched::pause_and_wait(domain);
        domain.events.close_from = 1; // the domain's own reset may have been left half-way
        return {};
    case TeardownStep::events:
        TRY(event::close_all(domain));
        pirq::release_all(domain);
        return {};
    case TeardownStep::grants: return domain.grants == nullptr ? Status{} : domain.grants->release_mappings(domain);
    case TeardownStep::roots: {
        Status dropped;
        domain.for_each_vcpu([&](Vcpu& vcpu) {
            if (dropped) dropped = drop_context(current, vcpu);
        });
        return dropped;
    }
    case TeardownStep::memory: return relinquish_domain_memory(current, domain, domain.teardown_cursor);
    case TeardownStep::vcpus:
        domain.for_each_vcpu([](Vcpu& vcpu) {
            __atomic_store_n(&vcpu.period_ns, std::uint64_t{0}, __ATOMIC_SEQ_CST);
            stop_timer_and_wait(vcpu.singleshot);
            stop_timer_and_wait(vcpu.periodic);
            stop_timer_and_wait(vcpu.poll_timer);
            sched::remove(vcpu);
        });
        for (Timer& watchdog : domain.watchdogs) stop_timer_and_wait(watchdog);
        unfurnish(domain);
        return {};
    case TeardownStep::done: break;
    }
    return {};
}

[[noreturn]] void end_machine(std::uint32_t reason) {
    switch (reason) {
    case CERO_SHUTDOWN_poweroff:
        arch::log(arch::Level::info, "Domain 0 has shut down: powering off");
        arch::power_off();
    case CERO_SHUTDOWN_reboot: arch::log(arch::Level::info, "Domain 0 has shut down: rebooting"); arch::reboot();
    default:
        arch::log(arch::Level::error, "Domain 0 has ended (reason %u)%s", reason,
                  reason == CERO_SHUTDOWN_crash ? ": it crashed" : "");
        if (arch::boot_option("noreboot")) arch::panic("domain 0 crashed, and the option noreboot is given");
        arch::reboot();
    }
}

} // namespace

Result<void*> allocate_object(std::size_t bytes) {
    return arch::direct_map(TRY(allocate_hypervisor_frames(order_of(bytes))));
}

void free_object(void* object, std::size_t bytes) { free_hypervisor_frames(arch::frame_of(object), order_of(bytes)); }

Result<Domain*> create_domain(DomainId id, const DomainSettings& settings) {
    if (settings.vcpus == 0 || settings.vcpus > max_vcpus) return Errno::inval;
    static_assert(sizeof(Domain) <= page_size);
    auto* domain = ::new (TRY(allocate_object(sizeof(Domain)))) Domain;
    domain->id = id;
    domain->is_control = domain->arch.control = settings.is_control;
    domain->l1_kept = l1_kept(settings.is_control);
    domain->vcpu_limit = settings.vcpus;
    domain->events.limit = settings.event_ports < CERO_EVTCHN_2L_PORTS ? settings.event_ports : CERO_EVTCHN_2L_PORTS;
    domain->shared_info = &no_shared_info;
    domain->pause_count.store(1, Order::relaxed);
    domain->paused_by_controller = true;
    if (const Status entered = enter_table(*domain); !entered) {
        free_object(domain, sizeof(Domain));
        return entered.error();
    }
    if (const Status furnished = furnish(*domain); !furnished) {
        domain->life.store(DomainLife::dead, Order::release);
        unfurnish(*domain);
        DomainRef::release(*domain);
        return furnished.error();
    }
    return domain;
}

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

void DomainRef::release(Domain& domain) noexcept {
    if (domain.refs.fetch_sub(1, Order::acq_rel) != 1) return;
    {
        LockGuard guard{table_lock};
        table[domain.slot.raw()] = nullptr;
        if (first_domain == &domain) first_domain = nullptr;
    }
    for (Vcpu* vcpu : domain.vcpus)
        if (vcpu != nullptr) free_object(vcpu, sizeof(Vcpu));
    event::destroy(domain);
    GrantTable::destroy(domain); // not before: whoever mapped from the domain unpins its entries
    free_object(&domain, sizeof(Domain));
}

Status destroy_domain(Vcpu& current, Domain& domain) {
    if (domain.is_control || &domain == current.domain) return Errno::inval;
    if (domain.life.load(Order::relaxed) == DomainLife::dead) return Errno::srch;
    while (domain.teardown != TeardownStep::done) {
        TRY(teardown_step(current, domain));
        domain.teardown = static_cast<TeardownStep>(static_cast<std::uint8_t>(domain.teardown) + 1);
        if (domain.teardown != TeardownStep::done && arch::preemption_point()) return Errno::restart;
    }
    domain.life.store(DomainLife::dead, Order::seq_cst);
    event::raise_host_virq(CERO_VIRQ_DOM_EXC);
    DomainRef::release(domain); // the table's
    return {};
}

void Domain::shut_down(std::uint32_t reason) {
    if (is_control) end_machine(reason);
    {
        LockGuard guard{lock};
        if (shutting_down.load(Order::relaxed)) return;
        shutdown_code = reason;
        shutting_down.store(true, Order::seq_cst);
    }
    for_each_vcpu([](Vcpu& vcpu) { sched::stop(vcpu); });
    event::raise_host_virq(CERO_VIRQ_DOM_EXC);
}

void Domain::crash(const char* format, ...) {
    Vcpu& current = arch::current_vcpu();
    if (current.domain == this) arch::raise_softirq(arch::Softirq::schedule); // it goes no further, whoever was first
    if (shutting_down.load(Order::relaxed)) return;
    char reason[160];
    va_list args;
    va_start(args, format);
    vformat_to(reason, sizeof reason, format, args);
    va_end(args);
    if (current.domain == this) {
        arch::log(arch::Level::warning, "d%uv%u crashed: %s", id.raw(), current.id.raw(), reason);
        arch::dump_vcpu(current);
    } else {
        arch::log(arch::Level::warning, "d%u crashed: %s", id.raw(), reason);
    }
    shut_down(CERO_SHUTDOWN_crash);
}

} // namespace cero
