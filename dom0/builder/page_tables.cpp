// SPDX-License-Identifier: BSD-2-Clause
// Writing of initial page tables, one pass per level.
#include "builder/page_tables.hpp"

#include <cstring>

namespace cero::builder {

namespace {

constexpr std::uint64_t entries = 512;
constexpr std::uint64_t flag_present = 1 << 0;
constexpr std::uint64_t flag_writable = 1 << 1;
constexpr std::uint64_t flag_user = 1 << 2;
constexpr std::uint64_t flag_accessed = 1 << 5;
constexpr std::uint64_t flag_dirty = 1 << 6;
/// The hypervisor adds the user bit to leaves; without it they are the guest kernel's.
constexpr std::uint64_t leaf_flags = flag_present | flag_accessed;
constexpr std::uint64_t table_flags =
    flag_present | flag_writable | flag_user | flag_accessed | flag_dirty;

class Writer {
public:
    Writer(std::span<const cero_frame> frames, const FrameAccess& access)
        : frames_{frames}, access_{access} {}

    /// Fills the tables of one level, which start at frame `tables` and map the `count` frames from
    /// `first` on; entry i of the first table that is used is `index`. Returns the number of
    /// tables.
    template <typename Flags>
    std::uint64_t fill(std::uint64_t tables, std::uint64_t index, std::uint64_t first,
                       std::uint64_t count, Flags flags) const {
        std::uint64_t table = tables;
        std::uint64_t* entry = access_(table);
        std::memset(entry, 0, index * sizeof *entry);
        std::uint64_t at = index % entries;
        for (std::uint64_t i = 0; i < count; ++i) {
            if (at == entries) {
                entry = access_(++table);
                at = 0;
            }
            const std::uint64_t bits = flags(first + i);
            entry[at++] = bits == 0 ? 0 : frames_[first + i] << CERO_PAGE_SHIFT | bits;
        }
        std::memset(entry + at, 0, (entries - at) * sizeof *entry);
        return table + 1 - tables;
    }

private:
    std::span<const cero_frame> frames_;
    const FrameAccess& access_;
};

constexpr std::uint64_t index_of(std::uint64_t address, unsigned level) noexcept {
    return address >> (CERO_PAGE_SHIFT + 9 * (level - 1)) & (entries - 1);
}

} // namespace

void write_page_tables(const KernelImage& kernel, const Layout& layout,
                       std::span<const cero_frame> frames, const FrameAccess& access) {
    const Writer writer{frames, access};
    const std::uint64_t base = kernel.virtual_base;
    const std::uint64_t level4 = layout.tables.first;
    const std::uint64_t level3 = level4 + 1;
    const std::uint64_t level2 = level3 + layout.level3_tables;
    const std::uint64_t level1 = level2 + layout.level2_tables;
    const auto as_table = [](std::uint64_t) { return table_flags; };
    const auto as_page = [&](std::uint64_t pfn) -> std::uint64_t {
        if (pfn >= layout.pages)
            return 0; // padding of a very small domain
        const bool is_table = pfn >= layout.tables.first && pfn < layout.tables.end();
        return is_table ? leaf_flags : leaf_flags | flag_writable;
    };
    writer.fill(level4, index_of(base, 4), level3, layout.level3_tables, as_table);
    writer.fill(level3, index_of(base, 3), level2, layout.level2_tables, as_table);
    writer.fill(level2, index_of(base, 2), level1, layout.level1_tables, as_table);
    writer.fill(level1, index_of(base, 1), 0, layout.mapped_pages, as_page);
    if (!kernel.p2m_base)
        return;
    const std::uint64_t list = *kernel.p2m_base;
    const std::uint64_t p2m_level3 = layout.p2m_tables.first;
    const std::uint64_t p2m_level2 = p2m_level3 + 1;
    const std::uint64_t p2m_level1 = p2m_level2 + layout.p2m_level2_tables;
    access(level4)[index_of(list, 4)] = frames[p2m_level3] << CERO_PAGE_SHIFT | table_flags;
    writer.fill(p2m_level3, index_of(list, 3), p2m_level2, layout.p2m_level2_tables, as_table);
    writer.fill(p2m_level2, index_of(list, 2), p2m_level1, layout.p2m_level1_tables, as_table);
    writer.fill(p2m_level1, index_of(list, 1), layout.p2m.first, layout.p2m.count, as_page);
}

} // namespace cero::builder
