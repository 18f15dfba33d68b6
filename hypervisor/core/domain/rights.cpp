// SPDX-License-Identifier: BSD-2-Clause
#include <core/domain/rights.hpp>

namespace cero {

Status RangeSet::add(std::uint64_t first, std::uint64_t last) noexcept {
    if (first > last) return Errno::inval;
    // [begin, end) are the ranges that the new one touches or overlaps; they become one.
    unsigned begin = 0;
    while (begin < count_ && first != 0 && ranges_[begin].last < first - 1) ++begin;
    unsigned end = begin;
    while (end < count_ && (last == ~0ull || ranges_[end].first <= last + 1)) ++end;
    if (begin == end) {
        if (count_ == capacity) return Errno::nospc;
        for (unsigned n = count_++; n > begin; --n) ranges_[n] = ranges_[n - 1];
        ranges_[begin] = {first, last};
        return {};
    }
    if (ranges_[begin].first < first) first = ranges_[begin].first;
    if (ranges_[end - 1].last > last) last = ranges_[end - 1].last;
    ranges_[begin] = {first, last};
    for (unsigned n = end; n < count_; ++n) ranges_[begin + 1 + n - end] = ranges_[n];
    count_ -= end - begin - 1;
    return {};
}

Status RangeSet::remove(std::uint64_t first, std::uint64_t last) noexcept {
    if (first > last) return Errno::inval;
    for (unsigned n = 0; n < count_; ++n) {
        Range& range = ranges_[n];
        if (range.last < first || range.first > last) continue;
        if (range.first < first && range.last > last) { // a hole: one range becomes two
            if (count_ == capacity) return Errno::nospc;
            for (unsigned m = count_++; m > n + 1; --m) ranges_[m] = ranges_[m - 1];
            ranges_[n + 1] = {last + 1, range.last};
            range.last = first - 1;
            return {};
        }
        if (range.first < first) {
            range.last = first - 1;
        } else if (range.last > last) {
            range.first = last + 1;
        } else {
            --count_;
            for (unsigned m = n; m < count_; ++m) ranges_[m] = ranges_[m + 1];
            --n; // the next one is here now
        }
    }
    return {};
}

bool RangeSet::contains(std::uint64_t first, std::uint64_t last) const noexcept {
    for (unsigned n = 0; n < count_; ++n)
        if (ranges_[n].first <= first && last <= ranges_[n].last) return first <= last;
    return false;
}

} // namespace cero
