// SPDX-License-Identifier: BSD-2-Clause
// Random bytes for user space (also getrandom(2)).
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernel {

/// Fills `out`. Any context.
void random_bytes(void* out, std::size_t size) noexcept;
/// Mixes something unpredictable into the pool.
void add_entropy(const void* data, std::size_t size) noexcept;
/// The architecture's part: a number from the CPU's own generator; 0 when it has none or none is
/// ready.
std::uint64_t hardware_random() noexcept;

} // namespace kernel
