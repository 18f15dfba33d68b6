// SPDX-License-Identifier: BSD-2-Clause
// Choosing who runs, switching, waking, pausing.
#include <core/sched/scheduler.hpp>

#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/hooks.hpp>
#include <core/sched/run_queue.hpp>
#include <core/time/guest_time.hpp>

bool cero::is_runnable(const Vcpu& vcpu) noexcept {
    if ((vcpu.flags.load(Order::seq_cst) & vcpu_flag::stops) != 0 || vcpu.pause_count.load(Order::seq_cst) != 0)
        return false;
    const Domain& domain = *vcpu.domain;
    return domain.pause_count.load(Order::seq_cst) == 0 && !domain.shutting_down.load(Order::seq_cst);
}

namespace cero::sched {
namespace {

RunQueue queues[max_cpus]; ///< each constructed by prepare_cpu()
Atomic<std::uint64_t> idle_cpus;

RunQueue& queue_of(CpuId cpu) noexcept { return queues[cpu.raw() % max_cpus]; }

/// The vCPU's queue, locked.
RunQueue& lock_queue(const Vcpu& vcpu) noexcept {
    for (;;) {
        const CpuId cpu = vcpu.last_cpu();
        RunQueue& queue = queue_of(cpu);
        queue.lock.lock();
        if (vcpu.last_cpu() == cpu) return queue;
        queue.lock.unlock();
    }
}

std::uint32_t stopped_state(const Vcpu& vcpu) noexcept {
    if (is_runnable(vcpu)) return CERO_RUNSTATE_runnable;
    return vcpu.is_blocked() && !vcpu.is_down() ? CERO_RUNSTATE_blocked : CERO_RUNSTATE_offline;
}

/// The CPU of the set, which is not empty, where fewest wait.
CpuId least_loaded(CpuMask allowed) noexcept {
    CpuId best = allowed.first();
    allowed.for_each([&](CpuId cpu) {
        if (queue_of(cpu).length.load(Order::relaxed) < queue_of(best).length.load(Order::relaxed)) best = cpu;
    });
    return best;
}

/// Where a vCPU that becomes runnable goes: its last CPU if that is idle, else any idle one, else
/// the last one if allowed, else the allowed one where fewest wait.
CpuId place(const Vcpu& vcpu) noexcept {
    const CpuMask allowed = vcpu.affinity & arch::online_cpus();
    const CpuId last = vcpu.last_cpu();
    const CpuMask idle = allowed & CpuMask{idle_cpus.load(Order::relaxed)};
    if (idle.contains(last) || allowed.empty()) return last;
    if (!idle.empty()) return idle.first();
    if (allowed.contains(last)) return last;
    return least_loaded(allowed);
}

/// Whether `vcpu`, which waits, should take the CPU from the one that runs.
bool preempts(const Vcpu& vcpu, const RunQueue& queue, std::uint64_t now) noexcept {
    const Vcpu& running = *queue.current;
    if (running.is_idle) return true;
    const std::uint64_t ran = minus(now, running.sched.started);
    return vcpu.sched.virtual_time + granularity_ns < running.sched.virtual_time + weighted(ran, *running.domain);
}

/// A CPU that was idle joins at the time that the others have reached, so that virtual times of
/// different CPUs stay comparable.
void raise_floor(RunQueue& queue) noexcept {
    arch::online_cpus().for_each([&](CpuId cpu) {
        const std::uint64_t floor = queue_of(cpu).floor.load(Order::relaxed);
        if (floor > queue.floor.load(Order::relaxed)) queue.floor.store(floor, Order::relaxed);
    });
}

/// Takes the vCPU that is furthest behind from another queue, if it is behind `limit`. Only tries
/// the other lock: two CPUs may look at each other at once. Who has nothing to run looks again.
Vcpu* pull(CpuId cpu, std::uint64_t limit) {
    Vcpu* taken = nullptr;
    const CpuMask others = arch::online_cpus() & ~CpuMask::of(cpu);
    others.for_each([&](CpuId from) {
        RunQueue& queue = queue_of(from);
        if (taken != nullptr || queue.front_time.load(Order::relaxed) >= limit) return;
        if (!queue.lock.try_lock()) {
            if (limit == no_time) arch::raise_softirq(arch::Softirq::schedule);
            return;
        }
        for (Vcpu* at = queue.waiting.front(); at != nullptr; at = queue.waiting.next(*at)) {
            if (at->sched.virtual_time >= limit) break;
            if (!at->affinity.contains(cpu) || at->on_cpu.load(Order::acquire) || !is_runnable(*at)) continue;
            queue.dequeue(*at);
            at->cpu.store(cpu.raw(), Order::relaxed);
            taken = at;
            break;
        }
        queue.lock.unlock();
    });
    return taken;
}

/// Chooses the next vCPU; `keep` tells whether the current one may go on. Queue lock held.
Vcpu& pick(RunQueue& queue, CpuId cpu, bool keep) {
    Vcpu* const running = queue.current;
    Vcpu* next;
    while ((next = queue.waiting.front()) != nullptr && !is_runnable(*next))
        queue.dequeue(*next); // stopped while it waited
    std::uint64_t own = next == nullptr ? no_time : next->sched.virtual_time;
    if (keep && !(running->sched.yielded && next != nullptr) &&
        own >= minus(running->sched.virtual_time, granularity_ns)) {
        next = running;
        own = running->sched.virtual_time;
    }
    const std::uint64_t limit = own == no_time ? no_time : minus(own, pull_lead_ns);
    if (Vcpu* pulled = pull(cpu, limit); pulled != nullptr) {
        if (running->is_idle) raise_floor(queue);
        queue.admit(*pulled, 2 * pull_lead_ns);
        return *pulled; // `next`, if it waited here, goes on waiting
    }
    if (next == nullptr) return *queue.idle;
    if (next != running) queue.dequeue(*next);
    return *next;
}

/// Arms the tick for the end of the slice, or of the cap's period.
void arm_tick(RunQueue& queue, const Vcpu& vcpu, std::uint64_t now, std::uint64_t unpark_at) {
    std::uint64_t at = unpark_at;
    if (!vcpu.is_idle) {
        std::uint64_t slice = slice_ns;
        if (vcpu.domain->cap != 0 && vcpu.sched.budget < static_cast<std::int64_t>(slice))
            slice = vcpu.sched.budget > 100'000 ? static_cast<std::uint64_t>(vcpu.sched.budget) : 100'000;
        if (now + slice < at) at = now + slice;
    }
    const std::uint64_t armed = queue.tick.is_armed() ? queue.tick.deadline().raw() : 0;
    if (at != no_time && (armed <= now || armed > at)) set_timer(queue.tick, Nanoseconds{at});
}

/// If somebody waits here while a CPU that may run it has nothing to do: lets that one pull.
void offer_waiting(RunQueue& queue, CpuId cpu) {
    const CpuMask idle = CpuMask{idle_cpus.load(Order::relaxed)} & ~CpuMask::of(cpu);
    if (idle.empty() || queue.length.load(Order::relaxed) == 0) return;
    CpuMask takers;
    queue.lock.lock();
    for (Vcpu* at = queue.waiting.front(); at != nullptr && takers.empty(); at = queue.waiting.next(*at))
        takers = at->affinity & idle;
    queue.lock.unlock();
    if (!takers.empty()) arch::send_reschedule(takers.first());
}

/// Does what makes `to` the running vCPU. Queue lock held.
void start(RunQueue& queue, Vcpu& to, CpuId cpu, std::uint64_t now) {
    queue.current = &to;
    to.sched.started = now;
    to.is_running.store(true, Order::seq_cst);
    to.on_cpu.store(true, Order::relaxed);
    if (to.is_idle) {
        idle_cpus.fetch_or(CpuMask::of(cpu).raw(), Order::relaxed);
        return;
    }
    idle_cpus.fetch_and(~CpuMask::of(cpu).raw(), Order::relaxed);
    change_runstate(to, CERO_RUNSTATE_running, Nanoseconds{now});
}

} // namespace

void prepare_cpu(CpuId cpu, Vcpu& idle) {
    // GCC 12 leaves an array of objects that point to themselves zeroed: construct this one here.
    RunQueue& queue = *::new (&queue_of(cpu)) RunQueue;
    idle.cpu.store(cpu.raw(), Order::relaxed);
    queue.idle = &idle;
    queue.tick.bind([](Timer&) { arch::raise_softirq(arch::Softirq::schedule); }, &queue);
    start(queue, idle, cpu, 0);
}

void schedule() {
    const CpuId cpu = arch::this_cpu_id();
    RunQueue& queue = queue_of(cpu);
    queue.lock.lock();
    const std::uint64_t now = arch::system_time().raw();
    Vcpu& from = *queue.current;
    queue.account(from, now);
    std::uint64_t unpark_at = queue.unpark(now);
    const bool runnable = !from.is_idle && is_runnable(from);
    const bool over_cap = runnable && !queue.within_cap(from, now);
    const bool keep = runnable && !over_cap && from.affinity.contains(cpu);
    Vcpu& to = pick(queue, cpu, keep);
    from.sched.yielded = false;
    if (&to == &from) {
        if (to.is_idle) // wake() cleared the bit for a vCPU that is gone again
            idle_cpus.fetch_or(CpuMask::of(cpu).raw(), Order::relaxed);
        arm_tick(queue, to, now, unpark_at);
        queue.lock.unlock();
        return offer_waiting(queue, cpu);
    }
    if (keep) {
        queue.enqueue(from);
    } else if (over_cap) {
        queue.park(from);
        unpark_at = (now / cap_period_ns + 1) * cap_period_ns;
    }
    if (!from.is_idle) change_runstate(from, stopped_state(from), Nanoseconds{now});
    from.is_running.store(false, Order::seq_cst);
    start(queue, to, cpu, now);
    arm_tick(queue, to, now, unpark_at);
    queue.lock.unlock();

    if (!from.arch.user_mode) publish_areas(from); // its address space is still the one loaded
    if (to.runstate_area.raw() != 0) to.arch.exit_work |= arch::exit_time_areas;
    arch::context_switch(from, to);
    from.on_cpu.store(false, Order::release);
    // It may have been woken, or sent to another CPU, while nobody else could take it.
    if (!keep && !from.is_idle && is_runnable(from)) wake(from);
    offer_waiting(queue, cpu);
}

void insert(Vcpu& vcpu) {
    vcpu.cpu.store(least_loaded(vcpu.affinity & arch::online_cpus()).raw(), Order::relaxed);
    vcpu.runstate.state = CERO_RUNSTATE_offline;
    vcpu.runstate.state_entry_time = arch::system_time().raw();
}

void remove(Vcpu& vcpu) {
    RunQueue& queue = lock_queue(vcpu);
    if (vcpu.sched.queued) queue.dequeue(vcpu);
    queue.lock.unlock();
}

void wake(Vcpu& vcpu) {
    RunQueue* queue = &lock_queue(vcpu);
    if (!vcpu.on_cpu.load(Order::acquire) && !vcpu.sched.queued) {
        const CpuId target = place(vcpu);
        if (target != vcpu.last_cpu()) {
            vcpu.cpu.store(target.raw(), Order::relaxed);
            queue->lock.unlock();
            queue = &lock_queue(vcpu);
        }
    }
    const std::uint64_t now = arch::system_time().raw();
    const CpuId cpu = vcpu.last_cpu();
    bool kick = false;
    if (is_runnable(vcpu) && !vcpu.sched.queued && !vcpu.is_running.load(Order::relaxed)) {
        if (vcpu.runstate.state != CERO_RUNSTATE_runnable)
            change_runstate(vcpu, CERO_RUNSTATE_runnable, Nanoseconds{now});
        if (queue->current->is_idle) raise_floor(*queue);
        queue->admit(vcpu, wake_bonus_ns);
        const bool may_run = queue->within_cap(vcpu, now);
        if (may_run)
            queue->enqueue(vcpu);
        else
            queue->park(vcpu);
        kick = !may_run || preempts(vcpu, *queue, now); // its CPU arms the tick for the one that is parked
        if (kick && may_run)                            // so that the next one to wake looks elsewhere
            idle_cpus.fetch_and(~CpuMask::of(cpu).raw(), Order::relaxed);
    }
    queue->lock.unlock();
    if (kick) arch::send_reschedule(cpu);
}

void unblock(Vcpu& vcpu) {
    // In this order: once `blocked` is clear the vCPU may run and poll again, and that bit is not ours to clear.
    vcpu.domain->polling_vcpus.fetch_and(~(1ull << vcpu.id.raw()), Order::seq_cst);
    if ((vcpu.flags.fetch_and(~vcpu_flag::blocked, Order::seq_cst) & vcpu_flag::blocked) != 0) wake(vcpu);
}

void stop(Vcpu& vcpu) {
    RunQueue& queue = lock_queue(vcpu);
    const bool running = vcpu.is_running.load(Order::relaxed);
    if (vcpu.sched.queued) queue.dequeue(vcpu);
    if (!running) change_runstate(vcpu, stopped_state(vcpu), arch::system_time());
    queue.lock.unlock();
    if (running) arch::send_reschedule(vcpu.last_cpu());
}

void yield() {
    Vcpu& vcpu = arch::current_vcpu();
    if (queue_of(arch::this_cpu_id()).length.load(Order::relaxed) == 0) return;
    vcpu.sched.yielded = true;
    arch::raise_softirq(arch::Softirq::schedule);
}

void pause(Domain& domain) {
    domain.pause_count.fetch_add(1, Order::seq_cst);
    domain.for_each_vcpu([](Vcpu& vcpu) { stop(vcpu); });
}

void pause_and_wait(Domain& domain) {
    pause(domain);
    domain.for_each_vcpu([](Vcpu& vcpu) {
        if (&vcpu != &arch::current_vcpu()) spin_while([&] { return vcpu.on_cpu.load(Order::acquire); });
    });
}

void unpause(Domain& domain) {
    if (domain.pause_count.fetch_sub(1, Order::seq_cst) == 1) domain.for_each_vcpu([](Vcpu& vcpu) { wake(vcpu); });
}

Status set_affinity(Vcpu& vcpu, CpuMask cpus) {
    if ((cpus & arch::online_cpus()).empty()) return Errno::inval;
    RunQueue& queue = lock_queue(vcpu);
    vcpu.affinity = cpus;
    const CpuId cpu = vcpu.last_cpu();
    const bool misplaced = !cpus.contains(cpu);
    const bool running = vcpu.is_running.load(Order::relaxed);
    if (misplaced && vcpu.sched.queued) queue.dequeue(vcpu);
    queue.lock.unlock();
    if (misplaced && running)
        arch::send_reschedule(cpu);
    else if (misplaced)
        wake(vcpu);
    return {};
}

Status set_share(Domain& domain, std::uint16_t weight, std::uint16_t cap) {
    if (weight == 0) return Errno::inval;
    domain.weight = weight;
    domain.cap = cap;
    domain.for_each_vcpu([](Vcpu& vcpu) {
        if (vcpu.is_running.load(Order::relaxed)) arch::send_reschedule(vcpu.last_cpu());
    });
    return {};
}

cero_vcpu_runstate_info runstate(Vcpu& vcpu) {
    RunQueue& queue = lock_queue(vcpu);
    cero_vcpu_runstate_info info = vcpu.runstate;
    queue.lock.unlock();
    info.time[info.state] += minus(arch::system_time().raw(), info.state_entry_time);
    return info;
}

Nanoseconds cpu_time(Vcpu& vcpu) { return Nanoseconds{runstate(vcpu).time[CERO_RUNSTATE_running]}; }

Nanoseconds idle_time(CpuId cpu) {
    RunQueue& queue = queue_of(cpu);
    LockGuard guard{queue.lock};
    std::uint64_t time = queue.idle_ns;
    if (queue.current != nullptr && queue.current->is_idle)
        time += arch::system_time().raw() - queue.current->sched.started;
    return Nanoseconds{time};
}

} // namespace cero::sched
