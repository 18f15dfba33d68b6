// SPDX-License-Identifier: BSD-2-Clause
// MemoryAccount: the frames that a domain has, and how many it may have.
#pragma once

#include <cero/lib/atomic.hpp>

#include <cstdint>

namespace cero {

struct MemoryAccount {
    Atomic<std::uint64_t> total_pages{};
    Atomic<std::uint64_t> max_pages{};
};

} // namespace cero
