// SPDX-License-Identifier: BSD-2-Clause
// Hypercall memory_op: reservations, memory maps and the machine-to-physical table.
#pragma once

#include <core/types.hpp>

namespace cero {

/// Returns what the command counts (extents done, pages). Arguments as in <cero/abi/memory.h>.
Result<std::int64_t> memory_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept;

} // namespace cero
