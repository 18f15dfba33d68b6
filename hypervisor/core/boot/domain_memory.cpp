// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/domain_memory.hpp>

#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>

namespace cero {

Status DomainMemory::init() {
    runs_ = arch::frame_ptr<Run>(TRY(allocate_hypervisor_frames(order)));
    return {};
}

DomainMemory::~DomainMemory() {
    if (runs_ != nullptr) free_hypervisor_frames(arch::frame_of(runs_), order);
}

Status DomainMemory::append(MachineFrame first, std::uint64_t count) {
    Run* last = count_ == 0 ? nullptr : &runs_[count_ - 1];
    if (last != nullptr && last->machine + last->count == first) {
        last->count += count;
    } else {
        if (count_ == capacity) return Errno::nomem;
        runs_[count_++] = {frames_, first, count};
    }
    frames_ += count;
    return {};
}

Status DomainMemory::grow(std::uint64_t count) {
    unsigned block = max_order;
    while (count != 0) {
        while ((1ull << block) > count) --block;
        auto first = allocate_frames(domain_, block, {.address_bits = 0, .zero = false});
        if (!first) {
            if (block == 0) return Errno::nomem;
            --block;
            continue;
        }
        TRY(append(*first, 1ull << block));
        count -= 1ull << block;
    }
    return {};
}

MachineFrame DomainMemory::look(std::uint64_t frame, std::uint64_t& run) const noexcept {
    unsigned low = 0;
    unsigned high = count_;
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        (runs_[middle].frame <= frame ? low : high) = middle;
    }
    const std::uint64_t offset = frame - runs_[low].frame;
    run = runs_[low].count - offset;
    return runs_[low].machine + offset;
}

void DomainMemory::copy_in(std::uint64_t address, const std::byte* from, std::uint64_t bytes) const noexcept {
    while (bytes != 0) {
        std::uint64_t run;
        auto* to = arch::frame_ptr<std::byte>(look(address >> page_shift, run)) + (address & (page_size - 1));
        const std::uint64_t room = (run << page_shift) - (address & (page_size - 1));
        const std::uint64_t now = bytes < room ? bytes : room;
        if (from == nullptr)
            __builtin_memset(to, 0, now);
        else
            __builtin_memcpy(to, std::exchange(from, from + now), now);
        address += now;
        bytes -= now;
    }
}

constexpr std::uint64_t leaf_flags = Pte::present | Pte::user | Pte::accessed | Pte::dirty;
constexpr std::uint64_t table_flags = Pte::present | Pte::write | Pte::user | Pte::accessed | Pte::dirty;

InitialTables::InitialTables(const DomainMemory& memory, std::uint64_t root) noexcept
    : memory_{memory}, root_{memory.look(root)}, next_{root + 1} {
    arch::clear_page(arch::direct_map(root_));
}

std::uint64_t* InitialTables::leaf_table(GuestVirt address) noexcept {
    auto* table = arch::frame_ptr<std::uint64_t>(root_);
    for (unsigned level = 4; level > 1; --level) {
        std::uint64_t& entry = table[table_index(address, level)];
        if (entry == 0) {
            const MachineFrame fresh = memory_.look(next_++);
            arch::clear_page(arch::direct_map(fresh));
            entry = Pte::of(fresh, table_flags).raw();
        }
        table = arch::frame_ptr<std::uint64_t>(Pte{entry}.frame());
    }
    return table;
}

void InitialTables::map(GuestVirt address, std::uint64_t frame, std::uint64_t count, std::uint64_t read_only,
                        std::uint64_t read_only_end) noexcept {
    while (count != 0) {
        std::uint64_t* table = leaf_table(address);
        const unsigned index = table_index(address, 1);
        std::uint64_t run;
        const std::uint64_t first = memory_.look(frame, run).raw();
        std::uint64_t now = entries_per_table - index;
        now = now < run ? now : run;
        now = now < count ? now : count;
        std::uint64_t entry = first << page_shift | leaf_flags | Pte::write;
        for (std::uint64_t n = 0; n < now; ++n, ++frame, entry += page_size)
            table[index + n] = frame >= read_only && frame < read_only_end ? entry & ~Pte::write : entry;
        count -= now;
        address = address + (now << page_shift);
    }
}

} // namespace cero
