// SPDX-License-Identifier: BSD-2-Clause
// Heap behind kmalloc(): size classes of one-page slabs.
#pragma once

#include <cstdint>

namespace kernel {

[[nodiscard]] std::uint64_t slab_pages() noexcept;

} // namespace kernel
