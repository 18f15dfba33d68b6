// SPDX-License-Identifier: BSD-2-Clause
// Random bytes for user space (also getrandom(2)).
#pragma once

#include <cstddef>

namespace kernel {

/// Fills `out`. Any context.
void random_bytes(void* out, std::size_t size) noexcept;
/// Mixes something unpredictable into the pool.
void add_entropy(const void* data, std::size_t size) noexcept;

} // namespace kernel
