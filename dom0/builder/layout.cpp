// SPDX-License-Identifier: BSD-2-Clause
// Planning of a new domain's memory.
#include "builder/layout.hpp"

#include "base/error.hpp"

#include <cero/abi/types.h>

namespace cero::builder {

namespace {

constexpr std::uint64_t page_size = CERO_PAGE_SIZE;
constexpr std::uint64_t entries_per_table = 512;
constexpr std::uint64_t padding_after_stack = (512 << 10) / page_size;
constexpr std::uint64_t mapping_granule = (4 << 20) / page_size;
constexpr std::uint64_t mapping_max = (std::uint64_t{1} << 30) / page_size;

constexpr std::uint64_t pages_for(std::uint64_t bytes) noexcept {
    return (bytes + page_size - 1) / page_size;
}

/// How many tables of one level map `count` pages from `first_page` on; a table maps `reach` pages.
constexpr std::uint64_t tables_for(std::uint64_t first_page, std::uint64_t count,
                                   std::uint64_t reach) noexcept {
    return count == 0 ? 0 : (first_page + count - 1) / reach - first_page / reach + 1;
}

constexpr std::uint64_t level1_reach = entries_per_table;
constexpr std::uint64_t level2_reach = level1_reach * entries_per_table;
constexpr std::uint64_t level3_reach = level2_reach * entries_per_table;

} // namespace

Layout plan_layout(const KernelImage& kernel, std::uint64_t pages, std::uint64_t ramdisk_bytes,
                   const std::string& kernel_path) {
    Layout layout;
    layout.pages = pages;
    layout.kernel = {kernel.start / page_size, (kernel.end - kernel.start) / page_size};
    std::uint64_t next = layout.kernel.end();
    const auto take = [&](std::uint64_t count) {
        const FrameRange range{next, count};
        next += count;
        return range;
    };
    const std::uint64_t list_pages = pages_for(pages * sizeof(std::uint64_t));
    if (!kernel.ramdisk_by_frame)
        layout.ramdisk = take(pages_for(ramdisk_bytes));
    if (!kernel.p2m_base)
        layout.p2m = take(list_pages);
    layout.start_info = take(1).first;
    layout.store = take(1).first;
    layout.console = take(1).first;

    // The tables map themselves, so their number and the size of the mapping depend on each other.
    const std::uint64_t base_page =
        (kernel.virtual_base & ((std::uint64_t{1} << 48) - 1)) / page_size;
    std::uint64_t table_count = 4;
    for (;;) {
        const std::uint64_t with_padding = next + table_count + 1 + padding_after_stack;
        const std::uint64_t end = base_page + with_padding;
        layout.mapped_pages =
            (end + mapping_granule - 1) / mapping_granule * mapping_granule - base_page;
        layout.level1_tables = tables_for(base_page, layout.mapped_pages, level1_reach);
        layout.level2_tables = tables_for(base_page, layout.mapped_pages, level2_reach);
        layout.level3_tables = tables_for(base_page, layout.mapped_pages, level3_reach);
        const std::uint64_t needed =
            1 + layout.level3_tables + layout.level2_tables + layout.level1_tables;
        if (needed == table_count)
            break;
        table_count = needed;
    }
    layout.tables = take(table_count);
    layout.stack = take(1).first;
    next = layout.mapped_pages;

    if (kernel.ramdisk_by_frame)
        layout.ramdisk = take(pages_for(ramdisk_bytes));
    if (kernel.p2m_base) {
        layout.p2m = take(list_pages);
        const std::uint64_t first = (*kernel.p2m_base & ((std::uint64_t{1} << 48) - 1)) / page_size;
        layout.p2m_level1_tables = tables_for(first, list_pages, level1_reach);
        layout.p2m_level2_tables = tables_for(first, list_pages, level2_reach);
        layout.p2m_tables = take(1 + layout.p2m_level2_tables + layout.p2m_level1_tables);
    }
    constexpr std::uint64_t pages_per_mib = (1 << 20) / page_size;
    if (layout.mapped_pages > mapping_max)
        throw Error{
            ExitCode::failed,
            fmt::format("kernel {}: it and its ramdisk of {} MiB need an initial mapping of "
                        "more than 1 GiB",
                        kernel_path, ramdisk_bytes >> 20),
            "Use a smaller ramdisk."};
    if (next > pages)
        throw Error{
            ExitCode::failed,
            fmt::format("kernel {}: too little memory: {} MiB are configured, the kernel ({} MiB) "
                        "and the ramdisk ({} MiB) need at least {} MiB to start",
                        kernel_path, pages / pages_per_mib,
                        (layout.kernel.count + pages_per_mib - 1) / pages_per_mib,
                        (ramdisk_bytes + (1 << 20) - 1) >> 20,
                        (next + pages_per_mib - 1) / pages_per_mib),
            "Raise \"memory\" in the configuration, or use a smaller ramdisk."};
    return layout;
}

} // namespace cero::builder
