// SPDX-License-Identifier: BSD-2-Clause
// Parsing of partition tables: pure functions over bytes that may be anything.
#include "gpt.hpp"

#include <cstring>

namespace drivers {

namespace {

constexpr std::uint32_t gpt_header_min = 92;
constexpr std::uint32_t gpt_entry_min = 128;
constexpr std::uint32_t gpt_max_entries = 1024;
constexpr std::uint32_t gpt_max_table = 256 * 1024;
constexpr std::uint8_t mbr_type_protective = 0xee;
constexpr std::uint8_t mbr_type_extended[] = {0x05, 0x0f, 0x85};

/// Little-endian load from unaligned bytes.
template <typename T>
T load(const void* base, std::size_t offset) noexcept {
    T value;
    std::memcpy(&value, static_cast<const std::byte*>(base) + offset, sizeof value);
    return value;
}

bool inside(std::uint64_t first, std::uint64_t count, std::uint64_t limit) noexcept {
    return count != 0 && first < limit && count <= limit - first;
}

} // namespace

std::uint32_t crc32(const void* data, std::size_t size, std::uint32_t seed) noexcept {
    const auto* byte = static_cast<const unsigned char*>(data);
    std::uint32_t crc = ~seed;
    for (std::size_t i = 0; i < size; ++i) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

bool parse_gpt_header(const void* sector, std::size_t size, std::uint64_t block,
                      std::uint64_t disk_blocks, GptLayout& layout) noexcept {
    if (size < 512 || std::memcmp(sector, "EFI PART", 8) != 0)
        return false;
    const auto header_size = load<std::uint32_t>(sector, 12);
    if (header_size < gpt_header_min || header_size > 512)
        return false;
    unsigned char copy[512];
    std::memcpy(copy, sector, header_size);
    const auto stored_crc = load<std::uint32_t>(copy, 16);
    std::memset(copy + 16, 0, 4);
    if (crc32(copy, header_size) != stored_crc || load<std::uint64_t>(copy, 24) != block)
        return false;
    layout.first_usable = load<std::uint64_t>(copy, 40);
    layout.last_usable = load<std::uint64_t>(copy, 48);
    layout.entries_block = load<std::uint64_t>(copy, 72);
    layout.entry_count = load<std::uint32_t>(copy, 80);
    layout.entry_size = load<std::uint32_t>(copy, 84);
    layout.entries_crc = load<std::uint32_t>(copy, 88);
    return layout.entry_size >= gpt_entry_min && layout.entry_size % 8 == 0 &&
           layout.entry_count != 0 && layout.entry_count <= gpt_max_entries &&
           layout.entry_size <= gpt_max_table / layout.entry_count &&
           layout.entries_block < disk_blocks && layout.last_usable < disk_blocks &&
           layout.first_usable <= layout.last_usable;
}

bool parse_gpt_entry(const void* table, const GptLayout& layout, std::uint32_t index,
                     std::uint64_t disk_blocks, PartitionExtent& extent) noexcept {
    const auto* entry =
        static_cast<const std::byte*>(table) + std::size_t{index} * layout.entry_size;
    static constexpr unsigned char unused_type[16]{};
    if (std::memcmp(entry, unused_type, sizeof unused_type) == 0)
        return false;
    const auto first = load<std::uint64_t>(entry, 32);
    const auto last = load<std::uint64_t>(entry, 40);
    if (first < layout.first_usable || last > layout.last_usable || last < first)
        return false;
    extent = {index + 1, first, last - first + 1};
    return inside(extent.first, extent.count, disk_blocks);
}

bool parse_mbr_entry(const void* sector, unsigned index, std::uint64_t disk_blocks,
                     PartitionExtent& extent) noexcept {
    if (load<std::uint16_t>(sector, 510) != 0xaa55 || index >= 4)
        return false;
    // A file system's boot sector has the same signature: all four status bytes must look like a
    // table's.
    for (unsigned i = 0; i < 4; ++i)
        if ((load<std::uint8_t>(sector, 446 + 16 * i) & 0x7f) != 0)
            return false;
    const std::size_t at = 446 + 16 * std::size_t{index};
    const auto type = load<std::uint8_t>(sector, at + 4);
    if (type == 0 || type == mbr_type_protective)
        return false;
    for (const auto extended : mbr_type_extended)
        if (type == extended)
            return false;
    extent = {index + 1, load<std::uint32_t>(sector, at + 8), load<std::uint32_t>(sector, at + 12)};
    return inside(extent.first, extent.count, disk_blocks);
}

} // namespace drivers
