// SPDX-License-Identifier: BSD-2-Clause
// The block registry: claims that overlap, life times, checks on requests, batch ends.
#include <cero/driver/block.hpp>

#include <gtest/gtest.h>

using namespace drivers;

namespace {

class RamDisk final : public BlockDevice {
public:
    RamDisk(const char* name, std::uint64_t sectors, int& lives) : lives_{lives} {
        set_name(name);
        geometry_.sectors = sectors;
        ++lives_;
    }
    ~RamDisk() override { --lives_; }
    BlockGeometry& shape() { return geometry_; }
    unsigned started{};

private:
    void start(BlockRequest& request) noexcept override {
        ++started;
        request.finish(Errno::ok);
    }
    void released() noexcept override { delete this; }
    int& lives_;
};

TEST(BlockRegistry, OneExclusiveWriterAlsoAcrossPartitions) {
    int lives = 0;
    auto* disk = new RamDisk{"vda", 1000, lives};
    auto* first = new RamDisk{"vda1", 500, lives};
    auto* second = new RamDisk{"vda2", 500, lives};
    ASSERT_TRUE(BlockRegistry::add(*disk));
    ASSERT_TRUE(BlockRegistry::add(*first, disk, 0));
    ASSERT_TRUE(BlockRegistry::add(*second, disk, 500));
    {
        auto writer = BlockHandle::open("/dev/vda1", BlockAccess::write_exclusive);
        ASSERT_TRUE(writer);
        EXPECT_EQ(BlockHandle::open("vda1", BlockAccess::write_exclusive).error(), Errno::busy);
        EXPECT_EQ(BlockHandle::open("vda", BlockAccess::write_shared).error(), Errno::busy);
        EXPECT_TRUE(BlockHandle::open("vda", BlockAccess::read));
        EXPECT_TRUE(BlockHandle::open("vda2", BlockAccess::write_exclusive));
        EXPECT_TRUE(BlockRegistry::has_writer(*disk));
        EXPECT_FALSE(BlockRegistry::has_writer(*second));
    }
    EXPECT_FALSE(BlockRegistry::has_writer(*disk));
    EXPECT_TRUE(BlockHandle::open("vda", BlockAccess::write_exclusive));
    EXPECT_EQ(BlockHandle::open("vdz", BlockAccess::read).error(), Errno::noent);
    BlockRegistry::remove(*second);
    BlockRegistry::remove(*first);
    auto last = BlockHandle::open("vda", BlockAccess::read);
    BlockRegistry::remove(*disk);
    EXPECT_EQ(lives, 1) << "the handle keeps the object";
    last->close();
    EXPECT_EQ(lives, 0);
}

TEST(BlockRegistry, NamesAreUnique) {
    int lives = 0;
    auto* one = new RamDisk{"vda", 8, lives};
    auto* two = new RamDisk{"vda", 8, lives};
    ASSERT_TRUE(BlockRegistry::add(*one));
    EXPECT_EQ(BlockRegistry::add(*two).error(), Errno::exist);
    delete two;
    BlockRegistry::remove(*one);
    EXPECT_EQ(lives, 0);
}

Errno submit(RamDisk& disk, BlockOp op, std::uint64_t sector, std::uint64_t count) {
    BlockSegment segment{0, nullptr, static_cast<std::uint32_t>(count * 512)};
    BlockRequest request;
    request.op = op;
    request.sector = sector;
    request.sector_count = count;
    request.segments = &segment;
    request.segment_count = op == BlockOp::read || op == BlockOp::write ? 1 : 0;
    request.complete = [](BlockRequest&) {};
    disk.submit(request);
    return request.error;
}

TEST(BlockDevice, RequestsAreCheckedBeforeTheDriverSeesThem) {
    int lives = 0;
    RamDisk disk{"x", 100, lives};
    EXPECT_EQ(submit(disk, BlockOp::read, 92, 8), Errno::ok);
    EXPECT_EQ(submit(disk, BlockOp::read, 93, 8), Errno::inval);
    EXPECT_EQ(submit(disk, BlockOp::read, ~0ull, 8), Errno::inval);
    EXPECT_EQ(submit(disk, BlockOp::read, 8, ~0ull), Errno::inval);
    EXPECT_EQ(submit(disk, BlockOp::discard, 0, 8), Errno::opnotsupp);
    EXPECT_EQ(submit(disk, BlockOp::flush, 0, 0), Errno::ok) << "nothing cached, nothing to do";
    EXPECT_EQ(disk.started, 1u);
    disk.shape().logical_sector_size = 4096;
    EXPECT_EQ(submit(disk, BlockOp::read, 4, 8), Errno::inval);
    EXPECT_EQ(submit(disk, BlockOp::read, 8, 8), Errno::ok);
    disk.shape().read_only = true;
    EXPECT_EQ(submit(disk, BlockOp::write, 8, 8), Errno::rofs);
}

TEST(CompletionBatch, RunsEachEndOnceWhenTheOutermostBatchEnds) {
    struct Counter : BatchEnd {
        int runs{};
    } counter;
    counter.run = [](BatchEnd& end) { ++static_cast<Counter&>(end).runs; };
    CompletionBatch::at_end(counter);
    EXPECT_EQ(counter.runs, 1) << "no batch: at once";
    {
        CompletionBatch outer;
        {
            CompletionBatch inner;
            CompletionBatch::at_end(counter);
            CompletionBatch::at_end(counter);
        }
        EXPECT_EQ(counter.runs, 1);
    }
    EXPECT_EQ(counter.runs, 2);
}

} // namespace
