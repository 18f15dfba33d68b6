// SPDX-License-Identifier: BSD-2-Clause
// Life of a domain: creation, shutdown, preemptible teardown.
#include <core/domain/domain.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/power.hpp>
#include <cero/lib/format.hpp>
#include <core/domain/domain_internal.hpp>
#include <core/domain/pirq.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_table.hpp>
#include <core/grant/grant_table.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/sched/scheduler.hpp>
#include <core/time/guest_time.hpp>

namespace cero {
namespace {

/// What a domain without one of its own points at: late readers find nothing, writers do no harm.
alignas(page_size) cero_shared_info no_shared_info;

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

void free_domain(Domain& domain) {
    for (Vcpu*& vcpu : domain.vcpus) {
        if (vcpu != nullptr) free_object(vcpu, sizeof(Vcpu));
        vcpu = nullptr;
    }
    event::destroy(domain);
    GrantTable::destroy(domain); // not before: whoever mapped from the domain unpins its entries
    free_object(&domain, sizeof(Domain));
}

namespace {

Status teardown_step(Vcpu& current, Domain& domain) {
    switch (domain.teardown) {
    case TeardownStep::stop:
        domain.life.store(DomainLife::dying, Order::seq_cst);
        sched::pause_and_wait(domain);
        return {};
    case TeardownStep::events:
        TRY(event::close_all(domain));
        pirq::release_all(domain);
        return {};
    case TeardownStep::grants: return domain.grants == nullptr ? Status{} : domain.grants->release_mappings(domain);
    case TeardownStep::roots: domain.for_each_vcpu([&](Vcpu& vcpu) { drop_context(current, vcpu); }); return {};
    case TeardownStep::memory: return relinquish_domain_memory(current, domain, domain.teardown_cursor);
    case TeardownStep::vcpus:
        domain.for_each_vcpu([](Vcpu& vcpu) {
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

} // namespace

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
    if (shutting_down.load(Order::relaxed)) return;
    char reason[160];
    va_list args;
    va_start(args, format);
    vformat_to(reason, sizeof reason, format, args);
    va_end(args);
    Vcpu& current = arch::current_vcpu();
    if (current.domain == this) {
        arch::log(arch::Level::warning, "d%uv%u crashed: %s", id.raw(), current.id.raw(), reason);
        arch::dump_vcpu(current);
    } else {
        arch::log(arch::Level::warning, "d%u crashed: %s", id.raw(), reason);
    }
    shut_down(CERO_SHUTDOWN_crash);
}

} // namespace cero
