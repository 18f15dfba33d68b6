// SPDX-License-Identifier: BSD-2-Clause
#include <core/sched/run_queue.hpp>

namespace cero::sched {

void RunQueue::refresh_hints() noexcept {
    Vcpu* first = waiting.front();
    front_time.store(first == nullptr ? no_time : first->sched.virtual_time, Order::relaxed);
}

void RunQueue::enqueue(Vcpu& vcpu) noexcept {
    // From the back: who has just run belongs there.
    Vcpu* after = waiting.back();
    if (after == nullptr || after->sched.virtual_time <= vcpu.sched.virtual_time) {
        waiting.push_back(vcpu);
    } else {
        Vcpu* at = waiting.front();
        while (at->sched.virtual_time <= vcpu.sched.virtual_time) at = waiting.next(*at);
        waiting.insert_before(*at, vcpu);
    }
    vcpu.sched.queued = true;
    length.fetch_add(1, Order::relaxed);
    refresh_hints();
}

void RunQueue::dequeue(Vcpu& vcpu) noexcept {
    List::remove(vcpu);
    vcpu.sched.queued = false;
    if (vcpu.sched.parked)
        vcpu.sched.parked = false;
    else
        length.fetch_sub(1, Order::relaxed);
    refresh_hints();
}

void RunQueue::admit(Vcpu& vcpu, std::uint64_t behind) const noexcept {
    const std::uint64_t now = floor.load(Order::relaxed);
    const std::uint64_t least = now > behind ? now - behind : 0;
    std::uint64_t& time = vcpu.sched.virtual_time;
    time = time < least ? least : time > now + wake_lag_ns ? now + wake_lag_ns : time;
}

void RunQueue::account(Vcpu& vcpu, std::uint64_t now) noexcept {
    SchedEntity& entity = vcpu.sched;
    const std::uint64_t ran = now > entity.started ? now - entity.started : 0;
    entity.started = now;
    if (vcpu.is_idle) {
        idle_ns += ran;
        return;
    }
    const Domain& domain = *vcpu.domain;
    entity.virtual_time += weighted(ran, domain);
    if (domain.cap != 0) {
        const std::uint64_t period = now / cap_period_ns;
        if (entity.period != period) {
            const auto quota = static_cast<std::int64_t>(cap_period_ns * domain.cap / 100 / domain.vcpu_limit);
            const std::int64_t carried = entity.budget < 0 ? entity.budget + quota : quota;
            entity.budget = entity.period == 0 ? quota : carried;
            entity.period = period;
        }
        entity.budget -= static_cast<std::int64_t>(ran);
    }
    Vcpu* first = waiting.front();
    std::uint64_t least = entity.virtual_time;
    if (first != nullptr && first->sched.virtual_time < least) least = first->sched.virtual_time;
    if (least > floor.load(Order::relaxed)) floor.store(least, Order::relaxed);
}

std::uint64_t RunQueue::unpark(std::uint64_t now) noexcept {
    const std::uint64_t period = now / cap_period_ns;
    Vcpu* next = nullptr;
    bool left = false;
    for (Vcpu* at = parked.front(); at != nullptr; at = next) {
        next = parked.next(*at);
        if (at->sched.period == period && at->domain->cap != 0) {
            left = true;
            continue;
        }
        List::remove(*at);
        at->sched.parked = false;
        enqueue(*at);
    }
    return left ? (period + 1) * cap_period_ns : no_time;
}

} // namespace cero::sched
