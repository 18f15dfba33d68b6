// SPDX-License-Identifier: BSD-2-Clause
// Partition tables: GPT (primary or backup header) and, failing that, the four MBR entries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace drivers {

struct PartitionExtent {
    unsigned number{};     ///< 1-based, as in the device's name
    std::uint64_t first{}; ///< in logical blocks
    std::uint64_t count{}; ///< in logical blocks
};

/// Where a checked GPT header says that its entries are.
struct GptLayout {
    std::uint64_t entries_block{};
    std::uint32_t entry_count{};
    std::uint32_t entry_size{};
    std::uint32_t entries_crc{};
    std::uint64_t first_usable{};
    std::uint64_t last_usable{};
    [[nodiscard]] std::size_t table_bytes() const noexcept {
        return std::size_t{entry_count} * entry_size;
    }
};

[[nodiscard]] std::uint32_t crc32(const void* data, std::size_t size,
                                  std::uint32_t seed = 0) noexcept;

/// Checks the header block read from `block` of a disk of `disk_blocks`; false when it is no valid
/// GPT.
[[nodiscard]] bool parse_gpt_header(const void* sector, std::size_t size, std::uint64_t block,
                                    std::uint64_t disk_blocks, GptLayout& layout) noexcept;

/// Reads entry `index` of a table whose CRC was checked. False: unused or out of bounds.
[[nodiscard]] bool parse_gpt_entry(const void* table, const GptLayout& layout, std::uint32_t index,
                                   std::uint64_t disk_blocks, PartitionExtent& extent) noexcept;

/// Reads MBR entry `index` (0..3) of the first sector. False: no MBR, unused, protective or out of
/// bounds.
[[nodiscard]] bool parse_mbr_entry(const void* sector, unsigned index, std::uint64_t disk_blocks,
                                   PartitionExtent& extent) noexcept;

} // namespace drivers
