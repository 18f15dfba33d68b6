// SPDX-License-Identifier: BSD-2-Clause
// What the processor layer calls in core: the other direction of the seam. hv-core implements
// these.
#pragma once

#include <core/types.hpp>

#include <cero/lib/result.hpp>

namespace cero {

namespace core {

/// A CPU is up: makes it schedulable (its idle vCPU becomes current). On that CPU, boot CPU
/// included.
void start_cpu() noexcept;
/// Runs the softirqs whose bits are set (Softirq::schedule excepted).
void run_softirqs(std::uint32_t bits) noexcept;
/// Picks a vCPU and switches to it (arch::context_switch), perhaps the idle one.
void schedule() noexcept;
/// The current vCPU leaves for guest kernel mode with exit_time_areas set: write runstate and time
/// areas.
void write_time_areas(Vcpu& vcpu) noexcept;
/// The idle vCPU is current and nothing is to be done: scrub a frame; true = there is more to do.
bool idle_work() noexcept;

/// Whether the vCPU's domain may use the ports.
[[nodiscard]] bool may_use_ports(const Vcpu& vcpu, std::uint16_t port, unsigned bytes) noexcept;
/// A store by the guest kernel to a level-1 table that it maps read-only: `address` is 8-byte
/// aligned. Installs `value` if the entry is still `expected`; Errno::again when it is not.
[[nodiscard]] Status guest_pte_store(Vcpu& vcpu, GuestVirt address, std::uint64_t expected,
                                     std::uint64_t value) noexcept;
/// Frame of a page of the vCPU's LDT, with a descriptor-page reference taken.
[[nodiscard]] Result<MachineFrame> ldt_page(Vcpu& vcpu, unsigned page) noexcept;
/// mov to cr3 by the guest kernel.
[[nodiscard]] Status new_base_pointer(Vcpu& vcpu, MachineFrame root) noexcept;

} // namespace core
} // namespace cero
