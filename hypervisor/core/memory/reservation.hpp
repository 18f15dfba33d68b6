// SPDX-License-Identifier: BSD-2-Clause
// The part of memory_op that gives and takes frames.
#pragma once

#include <core/types.hpp>

namespace cero {

/// increase_reservation, decrease_reservation, populate_physmap: extents from `start` on. Returns
/// the number of extents done; restart after hypercall_continue().
Result<std::int64_t> change_reservation(Vcpu& current, std::uint64_t command, std::uint64_t argument,
                                        std::uint64_t start) noexcept;

/// exchange: frames of one size for frames of another, each group wholly or not at all.
Result<std::int64_t> exchange_memory(Vcpu& current, std::uint64_t argument) noexcept;

} // namespace cero
