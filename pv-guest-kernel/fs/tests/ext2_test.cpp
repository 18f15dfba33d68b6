// SPDX-License-Identifier: BSD-2-Clause
// ext2 on images that mke2fs made and e2fsck judges: every block size, random operations against a
// model.
#include "../vfs_operations.hpp"
#include "host_kernel.hpp"

#include <cero/driver/block.hpp>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

using namespace kernel;

namespace {

/// A disk in memory.
class MemoryDisk final : public drivers::BlockDevice {
public:
    MemoryDisk(const char* name, std::vector<char> contents) : data{std::move(contents)} {
        set_name(name);
        geometry_.sectors = data.size() / 512;
        geometry_.max_segments = 7;
        geometry_.has_flush = true;
    }
    void start(drivers::BlockRequest& request) noexcept override {
        char* at = data.data() + request.sector * 512;
        for (std::uint32_t i = 0; i < request.segment_count; ++i) {
            const auto& segment = request.segments[i];
            char* memory = reinterpret_cast<char*>(segment.data);
            if (request.op == drivers::BlockOp::read)
                std::copy(at, at + segment.length, memory);
            else
                std::copy(memory, memory + segment.length, at);
            at += segment.length;
        }
        request.finish(failing ? Errno::io : Errno::ok);
    }
    std::vector<char> data;
    bool failing{};
};

std::vector<char> load(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
}

class Ext2Test : public ::testing::TestWithParam<int> {
protected:
    void SetUp() override {
        host::start();
        image_ = ::testing::TempDir() + "ext2-" + std::to_string(::getpid()) + ".img";
        ASSERT_EQ(run("truncate -s 16M " + image_), 0);
        ASSERT_EQ(
            run("mke2fs -q -F -t ext2 -b " + std::to_string(GetParam()) + " -N 2000 " + image_), 0);
        disk_ = new MemoryDisk{"vdt", load(image_)};
        ASSERT_TRUE(drivers::BlockRegistry::add(*disk_));
        if (!vfs::lookup("/mnt")) {
            ASSERT_TRUE(vfs::make_directory("/mnt", 0755));
        }
        if (!vfs::lookup("/dev")) {
            ASSERT_TRUE(vfs::make_directory("/dev", 0755));
            ASSERT_TRUE(vfs::mount("dev", "/dev", "devtmpfs", 0, ""));
        }
        ASSERT_TRUE(vfs::mount("/dev/vdt", "/mnt", "ext2", 0, ""));
    }
    void TearDown() override {
        EXPECT_EQ(vfs::unmount("/mnt", 0).error(), Errno::ok);
        drivers::BlockRegistry::remove(*disk_);
        check_image();
        std::remove(image_.c_str());
        delete disk_;
    }
    static int run(const std::string& command) {
        return std::system((command + " >/dev/null 2>&1").c_str());
    }
    void check_image() {
        std::ofstream{image_, std::ios::binary}.write(
            disk_->data.data(), static_cast<std::streamsize>(disk_->data.size()));
        const int status = run("e2fsck -fn " + image_);
        EXPECT_EQ(status, 0);
        if (status != 0)
            (void)std::system(("e2fsck -fn " + image_).c_str());
    }
    static Errno write_at(const std::string& name, const std::string& text, std::uint64_t offset) {
        auto file = vfs::open(name, open_flag::creat | open_flag::wronly, 0644);
        if (!file)
            return file.error();
        auto buffer = IoBuffer::kernel(static_cast<const void*>(text.data()), text.size());
        auto count = (*file)->ops->write(**file, buffer, offset);
        return count ? Errno::ok : count.error();
    }
    static std::string read(const std::string& name) {
        auto file = vfs::open(name, open_flag::rdonly);
        if (!file)
            return "error " + std::to_string(static_cast<int>(file.error()));
        std::string text((*file)->inode->size, 0);
        auto count = (*file)->read_at(text.data(), text.size(), 0);
        text.resize(count ? *count : 0);
        return text;
    }
    /// Empty if equal, else where and how they differ first.
    static std::string difference(const std::string& is, const std::string& should) {
        if (is.size() != should.size())
            return "size " + std::to_string(is.size()) + " not " + std::to_string(should.size());
        for (std::size_t i = 0; i < is.size(); ++i)
            if (is[i] != should[i])
                return "byte " + std::to_string(i) + " is " + std::to_string(is[i]) + " not " +
                       std::to_string(should[i]);
        return "";
    }
    std::uint64_t free_blocks() {
        return vfs::lookup("/mnt")->mount->superblock->statistics().blocks_free;
    }

    std::string image_;
    MemoryDisk* disk_{};
};

TEST_P(Ext2Test, FilesAndLinks) {
    EXPECT_EQ(write_at("/mnt/a", "hello", 0), Errno::ok);
    EXPECT_EQ(read("/mnt/a"), "hello");
    ASSERT_TRUE(vfs::make_symlink("a", "/mnt/short"));
    const std::string far(200, 'x');
    ASSERT_TRUE(vfs::make_symlink(far, "/mnt/long"));
    EXPECT_EQ(read("/mnt/short"), "hello");
    char text[300];
    auto path = vfs::lookup("/mnt/long", nullptr, {.follow_last = false});
    EXPECT_EQ(*path->inode()->read_link(text, sizeof(text)), 200U);
    ASSERT_TRUE(vfs::make_node("/mnt/null", mode::character | 0666, make_device(1, 3)));
    ASSERT_TRUE(vfs::make_node("/mnt/big", mode::block | 0600, make_device(300, 70000)));
    ASSERT_TRUE(vfs::make_node("/mnt/fifo", mode::fifo | 0600, 0));
    auto a = vfs::lookup("/mnt/a");
    ASSERT_TRUE(vfs::make_link(*a, "/mnt/b", nullptr));
    ASSERT_TRUE(vfs::remove("/mnt/a", nullptr, false));
    EXPECT_EQ(read("/mnt/b"), "hello");
    ASSERT_TRUE(vfs::remove("/mnt/null", nullptr, false));
    ASSERT_TRUE(vfs::remove("/mnt/long", nullptr, false));
}

TEST_P(Ext2Test, IndirectBlocksOfEveryDepth) {
    const std::uint64_t before = free_blocks();
    const auto block = static_cast<std::uint64_t>(GetParam());
    const std::uint64_t fan = block / 4;
    const std::uint64_t places[] = {0, 11 * block, 12 * block, (12 + fan) * block,
                                    (12 + fan + fan * fan) * block + 5};
    for (const std::uint64_t place : places)
        ASSERT_EQ(write_at("/mnt/sparse", "mark", place), Errno::ok);
    auto file = vfs::open("/mnt/sparse", open_flag::rdonly);
    for (const std::uint64_t place : places) {
        char mark[5] = {};
        ASSERT_EQ(*(*file)->read_at(mark, 4, place), 4U);
        EXPECT_STREQ(mark, "mark");
    }
    char hole[3] = {1, 1, 1};
    ASSERT_EQ(*(*file)->read_at(hole, 3, 5 * block), 3U);
    EXPECT_EQ(hole[1], 0);
    ASSERT_TRUE(vfs::truncate(*(*file)->inode, 12 * block + 2));
    EXPECT_EQ((*file)->inode->blocks, 4 * block / 512); // three data blocks and one indirect
    *file = nullptr;
    ASSERT_TRUE(vfs::remove("/mnt/sparse", nullptr, false));
    EXPECT_EQ(free_blocks(), before);
}

TEST_P(Ext2Test, DirectoriesGrowAndShrink) {
    ASSERT_TRUE(vfs::make_directory("/mnt/d", 0755));
    for (int i = 0; i < 700; ++i)
        ASSERT_EQ(write_at("/mnt/d/file-with-a-long-name-" + std::to_string(i), "x", 0), Errno::ok);
    EXPECT_EQ(vfs::remove("/mnt/d", nullptr, true).error(), Errno::notempty);
    for (int i = 0; i < 700; ++i)
        ASSERT_TRUE(
            vfs::remove("/mnt/d/file-with-a-long-name-" + std::to_string(i), nullptr, false))
            << i;
    ASSERT_TRUE(vfs::remove("/mnt/d", nullptr, true));
}

TEST_P(Ext2Test, RenamesDirectoriesAcross) {
    ASSERT_TRUE(vfs::make_directory("/mnt/x", 0755));
    ASSERT_TRUE(vfs::make_directory("/mnt/y", 0755));
    ASSERT_TRUE(vfs::make_directory("/mnt/x/sub", 0755));
    ASSERT_TRUE(vfs::rename("/mnt/x/sub", nullptr, "/mnt/y/moved", nullptr, 0));
    ASSERT_TRUE(vfs::make_directory("/mnt/x/other", 0755));
    ASSERT_TRUE(vfs::rename("/mnt/y/moved", nullptr, "/mnt/x/other", nullptr, 0));
    EXPECT_EQ(vfs::lookup("/mnt/x")->inode()->link_count, 3U);
    EXPECT_EQ(vfs::lookup("/mnt/y")->inode()->link_count, 2U);
}

TEST_P(Ext2Test, FullDiskLeavesNothingBehind) {
    const std::uint64_t before = free_blocks();
    const std::string chunk(1 << 20, 'f');
    Errno error = Errno::ok;
    for (std::uint64_t at = 0; error == Errno::ok && at < 64; ++at)
        error = write_at("/mnt/full", chunk, at << 20);
    EXPECT_NE(free_blocks(), before);
    EXPECT_EQ(write_at("/mnt/another", chunk, 0), Errno::nospc);
    ASSERT_TRUE(vfs::remove("/mnt/full", nullptr, false));
    ASSERT_TRUE(vfs::remove("/mnt/another", nullptr, false));
    EXPECT_EQ(free_blocks(), before);
}

TEST_P(Ext2Test, OpenFileOutlivesItsName) {
    const std::uint64_t before = free_blocks();
    ASSERT_EQ(write_at("/mnt/t", std::string(50000, 't'), 0), Errno::ok);
    auto file = vfs::open("/mnt/t", open_flag::rdonly);
    ASSERT_TRUE(vfs::remove("/mnt/t", nullptr, false));
    EXPECT_NE(free_blocks(), before);
    char byte = 0;
    EXPECT_EQ(*(*file)->read_at(&byte, 1, 49999), 1U);
    *file = nullptr;
    EXPECT_EQ(free_blocks(), before);
}

TEST_P(Ext2Test, SyncMakesTheImageClean) {
    ASSERT_EQ(write_at("/mnt/s", std::string(100000, 's'), 3000), Errno::ok);
    ASSERT_TRUE(vfs::sync_all());
    check_image();
    EXPECT_EQ(run("dumpe2fs -h " + image_ + " | grep -q 'state: *clean'"), 0);
}

TEST_P(Ext2Test, RandomOperationsMatchAModel) {
    std::mt19937 random{static_cast<unsigned>(GetParam())};
    std::map<std::string, std::string> model;
    auto pick = [&](unsigned n) { return random() % n; };
    auto name = [&] { return "/mnt/f" + std::to_string(pick(20)); };
    for (int step = 0; step < 3000; ++step) {
        const std::string file = name();
        switch (pick(8)) {
        case 0:
        case 1:
        case 2: {
            const std::uint64_t offset = pick(4) == 0 ? pick(400000) : pick(9000);
            const std::string text(1 + pick(9000), static_cast<char>('a' + pick(26)));
            ASSERT_EQ(write_at(file, text, offset), Errno::ok);
            std::string& content = model[file];
            if (content.size() < offset + text.size())
                content.resize(offset + text.size());
            content.replace(offset, text.size(), text);
            break;
        }
        case 3:
            EXPECT_EQ(vfs::remove(file, nullptr, false).has_value(), model.erase(file) == 1);
            break;
        case 4:
            if (auto path = vfs::lookup(file)) {
                const std::uint64_t size = pick(20000);
                ASSERT_TRUE(vfs::truncate(*path->inode(), size));
                model[file].resize(size);
            }
            break;
        case 5: {
            const std::string target = name();
            const bool moved = vfs::rename(file, nullptr, target, nullptr, 0).has_value();
            EXPECT_EQ(moved, model.count(file) == 1);
            if (moved && target != file) {
                model[target] = model[file];
                model.erase(file);
            }
            break;
        }
        case 6:
            if (pick(10) == 0) {
                ASSERT_TRUE(vfs::sync_all());
            }
            if (pick(20) == 0) { // everything out of the caches, to read the disk again
                ASSERT_TRUE(vfs::unmount("/mnt", 0));
                ASSERT_TRUE(vfs::mount("/dev/vdt", "/mnt", "ext2", 0, ""));
            }
            break;
        default:
            if (model.count(file) == 1) {
                ASSERT_EQ(difference(read(file), model[file]), "") << file << " at step " << step;
            }
        }
    }
    for (const auto& [file, content] : model)
        ASSERT_EQ(difference(read(file), content), "") << file;
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, Ext2Test, ::testing::Values(1024, 2048, 4096));

TEST(DiskNode, FailureOfAWriteThatNobodyWaitedForIsReportedOnceLater) {
    host::start();
    if (!vfs::lookup("/dev")) {
        ASSERT_TRUE(vfs::make_directory("/dev", 0755));
        ASSERT_TRUE(vfs::mount("dev", "/dev", "devtmpfs", 0, ""));
    }
    MemoryDisk disk{"vdu", std::vector<char>(1 << 20)};
    ASSERT_TRUE(drivers::BlockRegistry::add(disk));
    {
        auto file = vfs::open("/dev/vdu", open_flag::rdwr);
        ASSERT_TRUE(file);
        const std::string text(4096, 'x');
        auto buffer = IoBuffer::kernel(static_cast<const void*>(text.data()), text.size());
        ASSERT_TRUE((*file)->ops->write(**file, buffer, 8192));
        disk.failing = true;
        (void)vfs::sync_all();
        disk.failing = false;
        EXPECT_EQ((*file)->ops->sync(**file, false).error(), Errno::io);
        EXPECT_EQ((*file)->ops->sync(**file, false).error(), Errno::ok);
    }
    drivers::BlockRegistry::remove(disk);
}

TEST(Ext2Refusal, UnknownFeaturesAndDamage) {
    host::start();
    const std::string image = ::testing::TempDir() + "ext4-" + std::to_string(::getpid()) + ".img";
    auto run = [](const std::string& command) {
        return std::system((command + " >/dev/null 2>&1").c_str());
    };
    ASSERT_EQ(run("truncate -s 8M " + image), 0);
    ASSERT_EQ(run("mke2fs -q -F -t ext4 " + image), 0);
    if (!vfs::lookup("/mnt")) {
        ASSERT_TRUE(vfs::make_directory("/mnt", 0755));
    }
    if (!vfs::lookup("/dev/null")) {
        (void)vfs::make_directory("/dev", 0755);
        ASSERT_TRUE(vfs::mount("dev", "/dev", "devtmpfs", 0, ""));
    }
    MemoryDisk ext4{"vdu", load(image)};
    ASSERT_TRUE(drivers::BlockRegistry::add(ext4));
    EXPECT_EQ(vfs::mount("/dev/vdu", "/mnt", "ext2", 0, "").error(), Errno::inval);
    drivers::BlockRegistry::remove(ext4);
    MemoryDisk empty{"vdv", std::vector<char>(1 << 20)};
    ASSERT_TRUE(drivers::BlockRegistry::add(empty));
    EXPECT_EQ(vfs::mount("/dev/vdv", "/mnt", "ext2", 0, "").error(), Errno::inval);
    drivers::BlockRegistry::remove(empty);
    std::remove(image.c_str());
}

} // namespace
