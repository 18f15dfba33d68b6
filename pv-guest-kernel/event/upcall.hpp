// SPDX-License-Identifier: BSD-2-Clause
// Event delivery to this vCPU: masking, and the dispatcher that the upcall enters.
#pragma once

#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/hypercalls.hpp"

#include <cero/abi/shared_info.h>

namespace kernel {

/// A page of the image over which start-up maps the hypervisor's shared_info; zeros until then.
struct alignas(4096) SharedInfoPage {
    cero_shared_info info;
};
extern SharedInfoPage shared_info_page;
[[nodiscard]] inline cero_shared_info& shared_info() noexcept {
    return shared_info_page.info;
}
[[nodiscard]] inline cero_vcpu_info& this_vcpu_info() noexcept {
    return shared_info().vcpu_info[0];
}

[[nodiscard]] inline bool events_masked() noexcept {
    return __atomic_load_n(&this_vcpu_info().evtchn_upcall_mask, __ATOMIC_RELAXED) != 0;
}
inline void mask_events() noexcept {
    __atomic_store_n(&this_vcpu_info().evtchn_upcall_mask, std::uint8_t{1}, __ATOMIC_RELAXED);
    barrier();
}
inline void unmask_events() noexcept {
    barrier();
    __atomic_store_n(&this_vcpu_info().evtchn_upcall_mask, std::uint8_t{0}, __ATOMIC_RELAXED);
    barrier(); // mask before pending: what arrives in between delivers itself
    if (__atomic_load_n(&this_vcpu_info().evtchn_upcall_pending, __ATOMIC_RELAXED) != 0)
        [[unlikely]]
        hyper::deliver_events();
}

/// Handles everything that is pending, each port in its turn; ports of guests as far as their quota
/// goes. Events are masked.
void dispatch_events() noexcept;
/// Ends the wait of the ports that the quota holds back: nothing else wants the CPU. False if there
/// are none.
bool release_deferred_events() noexcept;
void init_events() noexcept;
/// Where guests have ports: what it costs a thread that there is an event. Thread context.
void measure_event_cost() noexcept;
[[nodiscard]] std::uint64_t event_count() noexcept;

} // namespace kernel
