// SPDX-License-Identifier: BSD-2-Clause
// What the processor layer calls: softirqs, scheduling, idle work, port rights.
#include <arch/api/hooks.hpp>

#include <arch/api/cpu.hpp>
#include <core/domain/domain.hpp>
#include <core/event/event.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/sched/scheduler.hpp>

namespace cero::core {

void run_softirqs(std::uint32_t bits) noexcept {
    if ((bits & bit(arch::Softirq::timer)) != 0) run_due_timers();
    if ((bits & bit(arch::Softirq::console)) != 0) event::raise_host_virq(CERO_VIRQ_CONSOLE);
}

void schedule() noexcept { sched::schedule(); }

bool idle_work() noexcept { return allocator_scrub_some(); }

bool may_use_ports(const Vcpu& vcpu, std::uint16_t port, unsigned bytes) noexcept {
    return vcpu.domain->rights.io_ports.contains(port, port + std::uint64_t{bytes} - 1);
}

} // namespace cero::core
