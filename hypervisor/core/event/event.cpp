// SPDX-License-Identifier: BSD-2-Clause
// Raising events: pending bit, mask, selector, upcall flag, kick.
#include <core/event/event.hpp>

#include <arch/api/cpu.hpp>
#include <core/domain/pirq.hpp>
#include <core/frame/frame_table.hpp>
#include <core/sched/scheduler.hpp>

namespace cero::event {
namespace {

/// Sets the bit in memory that the guest shares; returns what it was.
bool test_and_set(std::uint64_t& word, unsigned bit) noexcept {
    const std::uint64_t mask = 1ull << bit;
    return (__atomic_fetch_or(&word, mask, __ATOMIC_SEQ_CST) & mask) != 0;
}
bool test(const std::uint64_t& word, unsigned bit) noexcept {
    return ((__atomic_load_n(&word, __ATOMIC_SEQ_CST) >> bit) & 1) != 0;
}

/// Wakes the vCPUs that sleep in SCHEDOP_poll for this port, or for several.
void wake_pollers(Domain& domain, std::uint32_t port) {
    std::uint64_t waiting = domain.polling_vcpus.load(Order::seq_cst);
    for (; waiting != 0; waiting &= waiting - 1) {
        Vcpu& vcpu = *domain.vcpus[__builtin_ctzll(waiting)];
        if (vcpu.poll_port == 0 || vcpu.poll_port == port) sched::unblock(vcpu);
    }
}

/// Sets the selector's bit for a word with a pending port, and tells the vCPU.
void select(Vcpu& vcpu, unsigned word) {
    cero_vcpu_info* info = __atomic_load_n(&vcpu.arch.info, __ATOMIC_ACQUIRE);
    if (!test_and_set(info->evtchn_pending_sel, word)) mark_pending(vcpu);
}

void signal(Domain& domain, std::uint32_t port, Vcpu& vcpu) {
    cero_shared_info& shared = *domain.shared_info;
    const unsigned word = port / 64;
    if (test_and_set(shared.evtchn_pending[word], port % 64)) return;
    if (!test(shared.evtchn_mask[word], port % 64)) select(vcpu, word);
    if (domain.polling_vcpus.load(Order::seq_cst) != 0) [[unlikely]]
        wake_pollers(domain, port);
}

/// The vCPU that a channel is bound to, or null.
Vcpu* target_of(Domain& domain, const EventChannel& channel) noexcept {
    return domain.vcpu(__atomic_load_n(&channel.vcpu, __ATOMIC_RELAXED));
}

} // namespace

void mark_pending(Vcpu& vcpu) {
    cero_vcpu_info* info = __atomic_load_n(&vcpu.arch.info, __ATOMIC_ACQUIRE);
    if (__atomic_exchange_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST) != 0) return;
    // A running vCPU looks on its way out of the hypervisor; another CPU's is made to come in.
    if (vcpu.is_blocked())
        sched::unblock(vcpu);
    else if (&vcpu != &arch::current_vcpu() && vcpu.is_running.load(Order::seq_cst))
        arch::send_event_check(vcpu.last_cpu());
}

bool is_pending(const Domain& domain, std::uint32_t port) noexcept {
    return test(domain.shared_info->evtchn_pending[port / 64], port % 64);
}

void clear_pending(Domain& domain, std::uint32_t port) noexcept {
    __atomic_fetch_and(&domain.shared_info->evtchn_pending[port / 64], ~(1ull << (port % 64)), __ATOMIC_SEQ_CST);
}

void raise_port(Domain& domain, std::uint32_t port) {
    if (const EventChannel* channel = domain.events.find(EventPort{port})) raise_channel(domain, port, *channel);
}

void raise_channel(Domain& domain, std::uint32_t port, const EventChannel& channel) {
    if (Vcpu* vcpu = target_of(domain, channel)) signal(domain, port, *vcpu);
}

Status unmask(Domain& domain, std::uint32_t port) {
    const EventChannel* channel = domain.events.find(EventPort{port});
    if (channel == nullptr) return Errno::inval;
    Vcpu* vcpu = target_of(domain, *channel);
    const std::uint64_t bit = 1ull << (port % 64);
    if (vcpu == nullptr) return {};
    const std::uint64_t before =
        __atomic_fetch_and(&domain.shared_info->evtchn_mask[port / 64], ~bit, __ATOMIC_SEQ_CST);
    if ((before & bit) != 0 && is_pending(domain, port)) select(*vcpu, port / 64);
    return {};
}

int vcpu_virq_index(std::uint32_t virq) noexcept {
    for (unsigned n = 0; n < sizeof(vcpu_virqs) / sizeof(vcpu_virqs[0]); ++n)
        if (vcpu_virqs[n] == virq) return static_cast<int>(n);
    return -1;
}

void raise_virq(Vcpu& vcpu, std::uint32_t virq) {
    const int index = vcpu_virq_index(virq);
    if (index < 0) return;
    const std::uint32_t port = __atomic_load_n(&vcpu.virq_port[index], __ATOMIC_ACQUIRE);
    if (port != 0) signal(*vcpu.domain, port, vcpu);
}

void raise_global_virq(Domain& domain, std::uint32_t virq) {
    const std::uint32_t port = __atomic_load_n(&domain.global_virq_port[virq], __ATOMIC_ACQUIRE);
    if (port != 0) raise_port(domain, port);
}

void raise_host_virq(std::uint32_t virq) {
    if (Domain* domain = control_domain()) raise_global_virq(*domain, virq);
}

bool raise_pirq(Domain& domain, Pirq number) {
    PirqEntry* entry = domain.pirqs == nullptr ? nullptr : domain.pirqs->find(number);
    const std::uint32_t port = entry == nullptr ? 0 : entry->port.load(Order::acquire);
    if (port == 0) return false;
    raise_port(domain, port);
    return true;
}

void destroy(Domain& domain) {
    for (EventChannel*& page : domain.events.pages) {
        if (page != nullptr) free_hypervisor_frame(arch::frame_of(page));
        page = nullptr;
    }
}

} // namespace cero::event
