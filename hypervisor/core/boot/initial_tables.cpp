// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/initial_tables.hpp>

namespace cero {
namespace {

constexpr std::uint64_t leaf_flags = Pte::present | Pte::user | Pte::accessed | Pte::dirty;
constexpr std::uint64_t table_flags = Pte::present | Pte::write | Pte::user | Pte::accessed | Pte::dirty;

} // namespace

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
        for (std::uint64_t n = 0; n < now; ++n, entry += page_size) table[index + n] = entry;
        for (std::uint64_t n = 0; n < now; ++n)
            if (frame + n >= read_only && frame + n < read_only_end) table[index + n] &= ~Pte::write;
        frame += now;
        count -= now;
        address = address + (now << page_shift);
    }
}

} // namespace cero
