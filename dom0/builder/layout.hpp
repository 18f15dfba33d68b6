// SPDX-License-Identifier: BSD-2-Clause
// Layout: where everything lies in a new domain's memory, computed before anything is created.
#pragma once

#include "builder/kernel_image.hpp"

#include <cstdint>
#include <string>

namespace cero::builder {

/// `count` pages from pseudo-physical frame `first` on.
struct FrameRange {
    std::uint64_t first{};
    std::uint64_t count{};
    [[nodiscard]] std::uint64_t end() const noexcept { return first + count; }
};

/// Frame numbers are pseudo-physical; frame n of the initial mapping is at virtual_base + n pages.
///
///   kernel | [ramdisk] | [p2m] | start_info store console | tables | stack | padding ||
///          || [ramdisk] | [p2m and its tables] | free memory
///
/// What stands right of || is not in the initial mapping.
struct Layout {
    std::uint64_t pages{}; ///< all that the domain gets
    FrameRange kernel;
    FrameRange ramdisk;
    FrameRange p2m;
    FrameRange p2m_tables; ///< level 3, then level 2, then level 1; only when the p2m is outside
    std::uint64_t start_info{};
    std::uint64_t store{};
    std::uint64_t console{};
    FrameRange tables; ///< level 4, then level 3, 2 and 1
    std::uint64_t stack{};
    std::uint64_t mapped_pages{}; ///< size of the initial mapping
    std::uint64_t level3_tables{}, level2_tables{}, level1_tables{};
    std::uint64_t p2m_level2_tables{}, p2m_level1_tables{};

    [[nodiscard]] FrameRange specials() const noexcept {
        return {start_info, stack + 1 - start_info};
    }
};

/// Throws Error when the kernel and the ramdisk do not fit. The names are for messages.
[[nodiscard]] Layout plan_layout(const KernelImage& kernel, std::uint64_t pages,
                                 std::uint64_t ramdisk_bytes, const std::string& kernel_path);

} // namespace cero::builder
