// SPDX-License-Identifier: BSD-2-Clause
// Block requests from hostile guests, names of virtual disks, partition tables.
#include "blkif/request.hpp"
#include "block/gpt.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

using namespace drivers;
using namespace drivers::blkif;

namespace {

cero_blkif_entry request(std::uint8_t operation, std::uint8_t segments) {
    cero_blkif_entry entry{};
    entry.request.operation = operation;
    entry.request.nr_segments = segments;
    entry.request.id = 99;
    entry.request.sector_number = 1000;
    for (auto& segment : entry.request.seg)
        segment = {5, 0, 7, 0};
    return entry;
}

TEST(BlkRequest, ReadIsSummedUp) {
    Plan plan;
    auto entry = request(CERO_BLKIF_OP_READ, 3);
    entry.request.seg[1] = {6, 2, 4, 0};
    ASSERT_EQ(check_request(entry, plan), Errno::ok);
    EXPECT_EQ(plan.op, BlockOp::read);
    EXPECT_EQ(plan.sector, 1000u);
    EXPECT_EQ(plan.sector_count, 8u + 3u + 8u);
    EXPECT_EQ(plan.id, 99u);
}

TEST(BlkRequest, BadFieldsAreRefusedAndStillAnswerable) {
    Plan plan;
    EXPECT_EQ(check_request(request(CERO_BLKIF_OP_READ, 0), plan), Errno::inval);
    EXPECT_EQ(plan.id, 99u);
    EXPECT_EQ(check_request(request(CERO_BLKIF_OP_WRITE, 12), plan), Errno::inval);
    auto backwards = request(CERO_BLKIF_OP_WRITE, 1);
    backwards.request.seg[0] = {1, 5, 4, 0};
    EXPECT_EQ(check_request(backwards, plan), Errno::inval);
    auto beyond = request(CERO_BLKIF_OP_WRITE, 1);
    beyond.request.seg[0] = {1, 0, 8, 0};
    EXPECT_EQ(check_request(beyond, plan), Errno::inval);
    EXPECT_EQ(check_request(request(77, 1), plan), Errno::opnotsupp);
    EXPECT_EQ(plan.response_op, 77);
    EXPECT_EQ(check_request(request(CERO_BLKIF_OP_FLUSH_DISKCACHE, 1), plan), Errno::inval);
    EXPECT_EQ(check_request(request(CERO_BLKIF_OP_FLUSH_DISKCACHE, 0), plan), Errno::ok);
}

TEST(BlkRequest, BarrierIsAWriteOrOnlyAFlush) {
    Plan plan;
    ASSERT_EQ(check_request(request(CERO_BLKIF_OP_WRITE_BARRIER, 1), plan), Errno::ok);
    EXPECT_TRUE(plan.is_barrier);
    EXPECT_EQ(plan.op, BlockOp::write);
    EXPECT_EQ(plan.sector_count, 8u);
    ASSERT_EQ(check_request(request(CERO_BLKIF_OP_WRITE_BARRIER, 0), plan), Errno::ok);
    EXPECT_TRUE(plan.is_barrier);
    EXPECT_EQ(plan.segment_count, 0u);
    EXPECT_EQ(check_request(request(CERO_BLKIF_OP_WRITE_BARRIER, 12), plan), Errno::inval);
    ASSERT_EQ(check_request(request(CERO_BLKIF_OP_WRITE, 1), plan), Errno::ok);
    EXPECT_FALSE(plan.is_barrier) << "left over from the request before";
}

TEST(BlkRequest, SegmentsOfALargeBlockDiskAreWholeBlocks) {
    Plan plan;
    auto entry = request(CERO_BLKIF_OP_WRITE, 2);
    ASSERT_EQ(check_request(entry, plan), Errno::ok);
    EXPECT_TRUE(are_whole_blocks(plan, 4096));
    entry.request.seg[1] = {5, 0, 3, 0};
    ASSERT_EQ(check_request(entry, plan), Errno::ok);
    EXPECT_FALSE(are_whole_blocks(plan, 4096));
    EXPECT_TRUE(are_whole_blocks(plan, 2048));
    EXPECT_TRUE(are_whole_blocks(plan, 512));
}

TEST(BlkRequest, IndirectAnswersWithTheInnerOperation) {
    cero_blkif_entry entry{};
    entry.indirect.operation = CERO_BLKIF_OP_INDIRECT;
    entry.indirect.indirect_op = CERO_BLKIF_OP_WRITE;
    entry.indirect.nr_segments = max_segments;
    entry.indirect.indirect_grefs[0] = 44;
    Plan plan;
    ASSERT_EQ(check_request(entry, plan), Errno::ok);
    EXPECT_TRUE(plan.indirect);
    EXPECT_EQ(plan.response_op, CERO_BLKIF_OP_WRITE);
    EXPECT_EQ(plan.indirect_ref, 44u);
    entry.indirect.nr_segments = max_segments + 1;
    EXPECT_EQ(check_request(entry, plan), Errno::inval);
    entry.indirect.indirect_op = CERO_BLKIF_OP_INDIRECT;
    EXPECT_EQ(check_request(entry, plan), Errno::opnotsupp);
}

TEST(BlkRequest, DiscardCarriesItsRange) {
    cero_blkif_entry entry{};
    entry.discard.operation = CERO_BLKIF_OP_DISCARD;
    entry.discard.sector_number = 8;
    entry.discard.nr_sectors = 1ull << 40;
    Plan plan;
    ASSERT_EQ(check_request(entry, plan), Errno::ok);
    EXPECT_EQ(plan.sector_count, 1ull << 40);
    entry.discard.flag = CERO_BLKIF_DISCARD_SECURE;
    EXPECT_EQ(check_request(entry, plan), Errno::opnotsupp);
}

TEST(BlkRequest, RandomBytesNeverMakeAPlanBeyondTheLimits) {
    std::mt19937 random{3};
    for (int i = 0; i < 200000; ++i) {
        cero_blkif_entry entry;
        auto* bytes = reinterpret_cast<unsigned char*>(&entry);
        for (std::size_t at = 0; at < sizeof entry; ++at)
            bytes[at] = static_cast<unsigned char>(random());
        entry.request.operation = static_cast<std::uint8_t>(random() % 8);
        entry.request.nr_segments = static_cast<std::uint8_t>(random() % 16);
        Plan plan;
        if (check_request(entry, plan) != Errno::ok)
            continue;
        ASSERT_LE(plan.segment_count, max_segments);
        for (unsigned s = 0; !plan.indirect && s < plan.segment_count; ++s) {
            ASSERT_LE(plan.segments[s].first_sect, plan.segments[s].last_sect);
            ASSERT_LT(plan.segments[s].last_sect, 8);
        }
    }
}

TEST(DiskName, FollowsTheVirtualDeviceNumber) {
    char name[24];
    ASSERT_TRUE(disk_name(51712, name, sizeof name));
    EXPECT_STREQ(name, "xvda");
    ASSERT_TRUE(disk_name(51713, name, sizeof name));
    EXPECT_STREQ(name, "xvda1");
    ASSERT_TRUE(disk_name(51728, name, sizeof name));
    EXPECT_STREQ(name, "xvdb");
    ASSERT_TRUE(disk_name(1ull << 28 | 26 << 8, name, sizeof name));
    EXPECT_STREQ(name, "xvdaa");
    EXPECT_FALSE(disk_name(768, name, sizeof name));
    EXPECT_FALSE(disk_name(~0ull, name, sizeof name));
}

template <typename T>
void put(std::vector<unsigned char>& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

class Gpt : public testing::Test {
protected:
    static constexpr std::uint64_t blocks = 2048;
    std::vector<unsigned char> header = std::vector<unsigned char>(512);
    std::vector<unsigned char> table = std::vector<unsigned char>(128 * 128);
    void SetUp() override {
        std::memcpy(header.data(), "EFI PART", 8);
        put<std::uint32_t>(header, 8, 0x10000);
        put<std::uint32_t>(header, 12, 92);
        put<std::uint64_t>(header, 24, 1);
        put<std::uint64_t>(header, 40, 34);
        put<std::uint64_t>(header, 48, blocks - 34);
        put<std::uint64_t>(header, 72, 2);
        put<std::uint32_t>(header, 80, 128);
        put<std::uint32_t>(header, 84, 128);
        table[0] = 1;
        put<std::uint64_t>(table, 32, 34);
        put<std::uint64_t>(table, 40, 133);
        seal();
    }
    void seal() {
        put<std::uint32_t>(header, 16, 0);
        put<std::uint32_t>(header, 16, crc32(header.data(), 92));
    }
};

TEST_F(Gpt, GoodTableGivesItsPartitions) {
    GptLayout layout;
    ASSERT_TRUE(parse_gpt_header(header.data(), 512, 1, blocks, layout));
    PartitionExtent extent;
    ASSERT_TRUE(parse_gpt_entry(table.data(), layout, 0, blocks, extent));
    EXPECT_EQ(extent.number, 1u);
    EXPECT_EQ(extent.first, 34u);
    EXPECT_EQ(extent.count, 100u);
    EXPECT_FALSE(parse_gpt_entry(table.data(), layout, 1, blocks, extent));
}

TEST_F(Gpt, DamageIsNoticed) {
    GptLayout layout;
    EXPECT_FALSE(parse_gpt_header(header.data(), 512, 2, blocks, layout)) << "wrong place";
    header[50] ^= 1;
    EXPECT_FALSE(parse_gpt_header(header.data(), 512, 1, blocks, layout)) << "checksum";
}

TEST_F(Gpt, AbsurdSizesAreRefused) {
    GptLayout layout;
    put<std::uint32_t>(header, 80, 0xffffffff);
    seal();
    EXPECT_FALSE(parse_gpt_header(header.data(), 512, 1, blocks, layout));
    put<std::uint32_t>(header, 80, 128);
    put<std::uint32_t>(header, 84, 0);
    seal();
    EXPECT_FALSE(parse_gpt_header(header.data(), 512, 1, blocks, layout));
}

TEST_F(Gpt, EntriesOutsideTheUsableRangeAreIgnored) {
    GptLayout layout;
    ASSERT_TRUE(parse_gpt_header(header.data(), 512, 1, blocks, layout));
    PartitionExtent extent;
    put<std::uint64_t>(table, 40, blocks);
    EXPECT_FALSE(parse_gpt_entry(table.data(), layout, 0, blocks, extent));
    put<std::uint64_t>(table, 40, 33);
    EXPECT_FALSE(parse_gpt_entry(table.data(), layout, 0, blocks, extent));
}

TEST(Mbr, ReadsPrimaryPartitionsAndIgnoresBootSectors) {
    std::vector<unsigned char> sector(512);
    put<std::uint16_t>(sector, 510, 0xaa55);
    sector[446 + 4] = 0x83;
    put<std::uint32_t>(sector, 446 + 8, 2048);
    put<std::uint32_t>(sector, 446 + 12, 4096);
    PartitionExtent extent;
    ASSERT_TRUE(parse_mbr_entry(sector.data(), 0, 10000, extent));
    EXPECT_EQ(extent.first, 2048u);
    EXPECT_FALSE(parse_mbr_entry(sector.data(), 0, 6000, extent)) << "reaches past the end";
    EXPECT_FALSE(parse_mbr_entry(sector.data(), 1, 10000, extent));
    sector[446 + 16] = 0x42;
    EXPECT_FALSE(parse_mbr_entry(sector.data(), 0, 10000, extent)) << "code, not a table";
}

TEST(Crc32, KnownValue) {
    EXPECT_EQ(crc32("123456789", 9), 0xcbf43926u);
}

} // namespace
