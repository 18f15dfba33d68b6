// SPDX-License-Identifier: BSD-2-Clause
// RangeSet and Rights: which I/O ports, machine frames and interrupts a domain may use directly.
#pragma once

#include <core/types.hpp>

namespace cero {

/// Up to 24 disjoint ranges, sorted; adjacent ones are joined. Control lock for changes.
class RangeSet {
public:
    static constexpr unsigned capacity = 24;
    /// nospc when a further range would be needed and none is free; the set is then unchanged.
    Status add(std::uint64_t first, std::uint64_t last) noexcept;
    Status remove(std::uint64_t first, std::uint64_t last) noexcept;
    [[nodiscard]] bool contains(std::uint64_t first, std::uint64_t last) const noexcept;
    [[nodiscard]] unsigned size() const noexcept { return count_; }

private:
    struct Range {
        std::uint64_t first, last;
    };
    Range ranges_[capacity]{};
    unsigned count_{};
};

struct Rights {
    RangeSet io_ports;
    RangeSet io_memory; ///< machine frame numbers
    RangeSet pirqs;
};

} // namespace cero
