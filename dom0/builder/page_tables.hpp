// SPDX-License-Identifier: BSD-2-Clause
// The initial page tables of a new domain, written into its mapped frames.
#pragma once

#include "builder/layout.hpp"

#include <cero/abi/types.h>

#include <functional>
#include <span>

namespace cero::builder {

/// Gives the address at which a pseudo-physical frame of the new domain is mapped for writing.
using FrameAccess = std::function<std::uint64_t*(std::uint64_t pfn)>;

/// Writes every table of `layout` in full, zeros included. `frames` is the p2m: machine frame of
/// each pseudo-physical frame. Tables are mapped read-only, everything else writable.
void write_page_tables(const KernelImage& kernel, const Layout& layout,
                       std::span<const cero_frame> frames, const FrameAccess& access);

} // namespace cero::builder
