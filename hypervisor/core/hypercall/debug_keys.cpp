// SPDX-License-Identifier: BSD-2-Clause
// Debug keys: what the machine looks like inside, written to the log.
#include <core/hypercall/domctl_internal.hpp>

#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/power.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/sched/scheduler.hpp>

namespace cero {
namespace {

using arch::Level;
using arch::log;

void dump_domains() {
    for_each_domain([](Domain& domain) {
        log(Level::info,
            "d%u: slot %u, refs %u, pages %lu of %lu (owned %lu), ports %u, weight %u, cap "
            "%u%s%s%s",
            domain.id.raw(), domain.slot.raw(), domain.refs.load(Order::relaxed),
            domain.memory.total_pages.load(Order::relaxed), domain.memory.max_pages.load(Order::relaxed),
            domain.memory.owned_pages.load(Order::relaxed), domain.events.in_use, domain.weight, domain.cap,
            domain.paused_by_controller ? ", paused" : "", domain.is_dying() ? ", dying" : "",
            domain.shutting_down.load(Order::relaxed) ? ", shut down" : "");
        domain.for_each_vcpu([](Vcpu& vcpu) {
            log(Level::info, "  v%u: cpu %u, flags %x, pauses %u, state %u, ran %lu ms, events %u/%u", vcpu.id.raw(),
                vcpu.last_cpu().raw(), vcpu.flags.load(Order::relaxed), vcpu.pause_count.load(Order::relaxed),
                vcpu.runstate.state, sched::cpu_time(vcpu).raw() / 1'000'000, vcpu.arch.info->evtchn_upcall_pending,
                vcpu.arch.info->evtchn_upcall_mask);
        });
    });
}

void dump_vcpus() {
    for_each_domain([](Domain& domain) {
        domain.for_each_vcpu([](Vcpu& vcpu) {
            log(Level::info, "d%uv%u:", vcpu.domain->id.raw(), vcpu.id.raw());
            arch::dump_vcpu(vcpu);
        });
    });
}

void audit_frames() {
    if (const auto wrong = frame_audit_stopped())
        log(Level::info, "audit: %lu frames or accounts disagree", *wrong);
    else
        log(Level::info, "audit: page tables were busy, nothing checked");
}

} // namespace

void handle_debug_key(char key) {
    switch (key) {
    case 'a': audit_frames(); break;
    case 'd': dump_vcpus(); break;
    case 'm':
        log(Level::info, "frames: %lu free, of which %lu to be scrubbed", allocator_free_frames(),
            allocator_dirty_frames());
        break;
    case 'q': dump_domains(); break;
    case 'r': sched::dump(); break;
    case 'R': arch::reboot();
    default:
        log(Level::info, "debug keys: a audit of all frames, d vCPU registers, m "
                         "frames, q domains, "
                         "r run queues, R reboot");
        break;
    }
}

} // namespace cero
