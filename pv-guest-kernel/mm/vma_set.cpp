// SPDX-License-Identifier: BSD-2-Clause
#include "mm/vma_set.hpp"

#include <cstring>

namespace kernel {

VmaSet::~VmaSet() {
    kfree(areas_);
}

std::size_t VmaSet::first_ending_above(UserAddress address) const noexcept {
    std::size_t low = 0;
    std::size_t high = count_;
    while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (areas_[middle]->end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

Vma* VmaSet::find(UserAddress address) noexcept {
    if (last_found_ < count_ && areas_[last_found_]->start <= address &&
        address < areas_[last_found_]->end)
        return areas_[last_found_];
    const std::size_t index = first_ending_above(address);
    if (index == count_ || areas_[index]->start > address)
        return nullptr;
    last_found_ = index;
    return areas_[index];
}

bool VmaSet::overlaps(UserAddress start, UserAddress end) const noexcept {
    const std::size_t index = first_ending_above(start);
    return index < count_ && areas_[index]->start < end;
}

Status VmaSet::reserve(std::size_t extra) noexcept {
    if (count_ + extra <= capacity_)
        return {};
    constexpr std::size_t smallest = 16;
    const std::size_t wanted = count_ + extra;
    const std::size_t capacity = wanted <= smallest ? smallest : wanted * 2;
    auto* larger = static_cast<Vma**>(krealloc(areas_, capacity * sizeof(Vma*)));
    if (larger == nullptr)
        return Errno::nomem;
    areas_ = larger;
    capacity_ = capacity;
    return {};
}

void VmaSet::insert(Vma& area) noexcept {
    const std::size_t index = first_ending_above(area.start);
    memmove(areas_ + index + 1, areas_ + index, (count_ - index) * sizeof(Vma*));
    areas_[index] = &area;
    ++count_;
}

void VmaSet::remove_at(std::size_t index) noexcept {
    memmove(areas_ + index, areas_ + index + 1, (count_ - index - 1) * sizeof(Vma*));
    --count_;
}

UserAddress VmaSet::find_gap(std::uint64_t size, UserAddress low, UserAddress high) const noexcept {
    UserAddress gap_end = high;
    for (std::size_t index = count_; index-- > 0 && gap_end > low;) {
        const Vma& area = *areas_[index];
        if (area.start >= high)
            continue;
        if (area.end < gap_end && gap_end - area.end >= size && gap_end - size >= low)
            return gap_end - size;
        gap_end = area.start < gap_end ? area.start : gap_end;
    }
    return gap_end > low && gap_end - low >= size ? gap_end - size : 0;
}

bool can_merge(const Vma& low, const Vma& high) noexcept {
    return low.end == high.start && low.mappable == nullptr && high.mappable == nullptr &&
           low.protection == high.protection && low.shared == high.shared && !low.shared &&
           low.grows_down == high.grows_down && !low.device && !high.device &&
           low.dont_copy == high.dont_copy;
}

} // namespace kernel
