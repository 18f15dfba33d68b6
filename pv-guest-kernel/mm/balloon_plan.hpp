// SPDX-License-Identifier: BSD-2-Clause
// How far the balloon may go: pure arithmetic.
#pragma once

#include <cstdint>

namespace kernel {

struct BalloonInput {
    std::uint64_t target;  ///< pages that dom0 wants the domain to have
    std::uint64_t present; ///< pages that it has
    std::uint64_t limit;   ///< pages that the kernel's arrays have room for
    std::uint64_t free;    ///< of the present ones
};

struct BalloonStep {
    std::uint64_t give; ///< pages to give back now
    std::uint64_t take; ///< pages to ask for now; at most one of the two is not 0
    bool is_done;
};

/// Free pages that stay: without them the balloon would starve whoever runs now.
constexpr std::uint64_t balloon_reserve(std::uint64_t present) noexcept {
    constexpr std::uint64_t least = 512; // 2 MiB
    const std::uint64_t share = present / 32;
    return share > least ? share : least;
}

constexpr BalloonStep plan_balloon(const BalloonInput& now, std::uint64_t batch) noexcept {
    const auto least = [](std::uint64_t a, std::uint64_t b) { return a < b ? a : b; };
    const std::uint64_t target = least(now.target, now.limit);
    if (now.present > target) {
        const std::uint64_t reserve = balloon_reserve(now.present);
        const std::uint64_t spare = now.free > reserve ? now.free - reserve : 0;
        return {least(least(now.present - target, spare), batch), 0, false};
    }
    return {0, least(target - now.present, batch), now.present == target};
}

} // namespace kernel
