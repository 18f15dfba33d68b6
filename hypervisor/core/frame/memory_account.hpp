// SPDX-License-Identifier: BSD-2-Clause
// MemoryAccount: the frames that a domain has, how many it may have, the memory map it is told.
#pragma once

#include <cero/abi/memory.h>
#include <cero/lib/atomic.hpp>

#include <cstdint>

namespace cero {

/// Member `memory` of Domain.
struct MemoryAccount {
    static constexpr unsigned max_map_entries = 16;

    Atomic<std::uint64_t> total_pages{}; ///< frames allocated to the domain
    Atomic<std::uint64_t> max_pages{};
    /// Every frame whose word names the domain as owner: allocated ones, shared ones, and ones that
    /// it has given back but somebody still maps. The Domain object must not go before this is
    /// zero; it holds one reference of the domain while it is not.
    Atomic<std::uint64_t> owned_pages{};
    std::uint32_t map_entries{}; ///< of XENMEM_memory_map; 0 = none set
    cero_e820_entry map[max_map_entries]{};
};

} // namespace cero
