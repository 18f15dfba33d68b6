// SPDX-License-Identifier: BSD-2-Clause
// The page-table hypercalls, and the roots of vCPUs. (The store of the page-fault path is
// core::guest_pte_store, declared in arch/api/hooks.hpp.)
#pragma once

#include <core/paging/pte.hpp>

namespace cero {

/// Hypercalls; arguments as in <cero/abi/mmu.h>, in register order. They return restart after
/// hypercall_continue() when they stopped at a preemption point.
Status mmu_update(Vcpu& current, std::uint64_t updates, std::uint64_t count, std::uint64_t done,
                  std::uint64_t domain) noexcept;
Status update_va_mapping(Vcpu& current, std::uint64_t address, std::uint64_t value, std::uint64_t flags) noexcept;
Status update_va_mapping_otherdomain(Vcpu& current, std::uint64_t address, std::uint64_t value, std::uint64_t flags,
                                     std::uint64_t domain) noexcept;
Status mmuext_op(Vcpu& current, std::uint64_t operations, std::uint64_t count, std::uint64_t done,
                 std::uint64_t domain) noexcept;

/// Installs the roots of a vCPU that is not running (start of day, VCPUOP_initialise,
/// setvcpucontext) in place of those it has: takes the type references of the new ones, drops the
/// old. `user` may be invalid_frame. restart: stopped at a preemption point, call again. The vCPU's
/// cr3 fields follow.
Status set_vcpu_roots(Vcpu& current, Vcpu& target, MachineFrame kernel, MachineFrame user) noexcept;
/// Drops both roots (vCPU destruction, reset). The vCPU must not be loaded on any CPU. restart: call again.
Status drop_vcpu_roots(Vcpu& current, Vcpu& target) noexcept;

/// Level-1 entry that maps `address` under the vCPU's kernel root; a non-present entry when there
/// is none. Reads without locks: a hint that must be checked before use.
struct MappedEntry {
    MachineFrame table; ///< invalid_frame: no level-1 table
    unsigned index;
    Pte entry;
};
MappedEntry look_up(MachineFrame root, GuestVirt address) noexcept;

} // namespace cero
