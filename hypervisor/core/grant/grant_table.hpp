// SPDX-License-Identifier: BSD-2-Clause
// GrantTable: what a domain shares with others (version 1), and what it has mapped from others.
#pragma once

#include <core/lock.hpp>
#include <core/types.hpp>

#include <cero/abi/grant.h>
#include <cero/lib/result.hpp>

namespace cero {

/// One page of hypervisor memory per domain, made by create(). Further pages come as the domain
/// asks for them. `lock` guards every member; no two tables' locks are ever held together.
class GrantTable {
public:
    static constexpr unsigned max_frames = 64;
    static constexpr unsigned max_maptrack_pages = 512; ///< 256 mappings each

    /// Gives the domain an empty table (domain.grants). nomem.
    static Status create(Domain& domain) noexcept;
    /// Seeds a reserved entry (console, store) for the toolstack, creating the first page if
    /// needed.
    Status seed(Domain& owner, GrantRef ref, DomainId grantee, MachineFrame frame) noexcept;
    /// Grows the table to `count` pages. nomem; inval: over the limit.
    Status grow(Domain& owner, unsigned count) noexcept;

    /// Death of the owner: drops every mapping it holds of others' frames, then closes its own
    /// table. What others have mapped of the owner's frames stays theirs until they unmap.
    /// Preemptible: restart. No vCPU of the owner runs; its page tables may still exist or be gone.
    Status release_mappings(Domain& owner) noexcept;
    /// Last step, when the Domain object goes: frees the table itself (domain.grants becomes null).
    static void destroy(Domain& owner) noexcept;

    Spinlock<LockRank::grant> lock;
    std::uint32_t frames{}; ///< pages of entries; 0 again once the owner is dead
    std::uint32_t maptrack_pages{};
    std::uint32_t free_handle{~0u};               ///< head of the list of free mapping records
    std::uint32_t live_mappings{};                ///< records in use
    std::uint32_t shared[max_frames]{};           ///< machine frames of the entries that the guest writes
    std::uint32_t active[max_frames]{};           ///< machine frames of the hypervisor's state of each entry
    std::uint32_t maptrack[max_maptrack_pages]{}; ///< machine frames of the mapping records
};

/// Hypercall grant_table_op; arguments as in <cero/abi/grant.h>.
Status grant_table_op(Vcpu& current, std::uint64_t command, std::uint64_t array, std::uint64_t count) noexcept;

} // namespace cero
