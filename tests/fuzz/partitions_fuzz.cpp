// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as the start of a disk. A partition that is found lies inside the disk and
// behind its tables.
#include <block/gpt.hpp>
#include <fuzz/target.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t block_size = 512;
constexpr std::size_t table_at = 2 * block_size;
constexpr std::uint64_t disk_blocks = 2048;

template <typename T>
void put(std::string& bytes, std::size_t at, T value) {
    std::memcpy(&bytes[at], &value, sizeof value);
}

void check(const drivers::PartitionExtent& extent) {
    if (extent.count == 0 || extent.first >= disk_blocks ||
        extent.count > disk_blocks - extent.first)
        std::abort();
}

/// A checksum is no secret: with the right one, the rest of the header is what is tried.
void seal(unsigned char* header) {
    std::uint32_t size;
    std::memcpy(&size, header + 12, sizeof size);
    if (size > block_size)
        return;
    std::memset(header + 16, 0, 4);
    const std::uint32_t sum = drivers::crc32(header, size);
    std::memcpy(header + 16, &sum, sizeof sum);
}

} // namespace

cero::fuzz::Seed cero::fuzz::make_seed() {
    std::string disk(table_at + std::size_t{4} * 128, '\0');
    disk[446 + 4] = '\x83';
    put<std::uint32_t>(disk, 446 + 8, 1);
    put<std::uint32_t>(disk, 446 + 12, 100);
    put<std::uint16_t>(disk, 510, 0xaa55);
    std::memcpy(&disk[block_size], "EFI PART", 8);
    put<std::uint32_t>(disk, block_size + 12, 92);
    put<std::uint64_t>(disk, block_size + 24, 1);
    put<std::uint64_t>(disk, block_size + 40, 34);
    put<std::uint64_t>(disk, block_size + 48, disk_blocks - 34);
    put<std::uint64_t>(disk, block_size + 72, 2);
    put<std::uint32_t>(disk, block_size + 80, 4);
    put<std::uint32_t>(disk, block_size + 84, 128);
    disk[table_at] = 1;
    put<std::uint64_t>(disk, table_at + 32, 34);
    put<std::uint64_t>(disk, table_at + 40, 133);
    return {disk};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < table_at)
        return 0;
    std::vector<unsigned char> disk(data, data + size);
    drivers::PartitionExtent extent;
    for (unsigned n = 0; n < 5; ++n)
        if (drivers::parse_mbr_entry(disk.data(), n, disk_blocks, extent))
            check(extent);
    seal(&disk[block_size]);
    drivers::GptLayout layout;
    if (!drivers::parse_gpt_header(&disk[block_size], block_size, 1, disk_blocks, layout))
        return 0;
    // The reader allocates what the header asks for and compares the table's checksum; the entries
    // may be anything.
    std::vector<unsigned char> table(layout.table_bytes());
    if (table.empty() || table.size() > std::size_t{1} << 20)
        std::abort();
    std::memcpy(table.data(), &disk[table_at], std::min(table.size(), disk.size() - table_at));
    for (std::uint32_t n = 0; n < layout.entry_count; ++n)
        if (drivers::parse_gpt_entry(table.data(), layout, n, disk_blocks, extent))
            check(extent);
    return 0;
}
