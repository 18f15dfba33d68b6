// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/mm/early_memory.hpp>

namespace cero::arch {

bool EarlyMemory::reserve(std::uint64_t base, std::uint64_t size) noexcept {
    if (size == 0) return true;
    Range range{base & ~4095ull, (base + size + 4095) & ~4095ull};
    unsigned kept = 0;
    for (unsigned n = 0; n < count_; ++n) { // swallow what overlaps or touches
        if (reserved_[n].base <= range.end && range.base <= reserved_[n].end) {
            range.base = reserved_[n].base < range.base ? reserved_[n].base : range.base;
            range.end = reserved_[n].end > range.end ? reserved_[n].end : range.end;
        } else {
            reserved_[kept++] = reserved_[n];
        }
    }
    count_ = kept;
    if (count_ == max_reserved) return false;
    unsigned at = count_++;
    for (; at > 0 && reserved_[at - 1].base > range.base; --at) reserved_[at] = reserved_[at - 1];
    reserved_[at] = range;
    return true;
}

std::uint64_t EarlyMemory::allocate(std::uint64_t size, std::uint64_t align, std::uint64_t limit) noexcept {
    std::uint64_t best = 0;
    for_each_free([&](std::uint64_t base, std::uint64_t length) {
        const std::uint64_t end = base + length < limit ? base + length : limit;
        if (end <= base || end - base < size) return;
        const std::uint64_t candidate = (end - size) & ~(align - 1);
        if (candidate >= base && candidate > best) best = candidate;
    });
    return best != 0 && reserve(best, size) ? best : 0;
}

std::uint64_t EarlyMemory::ram_end() const noexcept {
    std::uint64_t end = 0;
    for (const MemoryRange& range : map_)
        if (range.type == MemoryType::ram && range.base + range.size > end) end = range.base + range.size;
    return end;
}

} // namespace cero::arch
