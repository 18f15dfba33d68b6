// SPDX-License-Identifier: BSD-2-Clause
// VFS on tmpfs: names, links, renames, mounts, directories, contents.
#include "../vfs_operations.hpp"
#include "cpio_member.hpp"
#include "host_kernel.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

using namespace kernel;
using host::cpio_member;

namespace {

class VfsTest : public ::testing::Test {
protected:
    void SetUp() override {
        host::start();
        static int number;
        base = "/case" + std::to_string(number++);
        ASSERT_TRUE(vfs::make_directory(base, 0755));
        auto path = vfs::lookup(base);
        ASSERT_TRUE(path);
        current_fs().cwd = std::move(*path);
    }
    static Errno write(const std::string& name, const std::string& text, std::uint32_t more = 0) {
        auto file = vfs::open(name, open_flag::creat | open_flag::wronly | more, 0644);
        if (!file)
            return file.error();
        auto buffer = IoBuffer::kernel(static_cast<const void*>(text.data()), text.size());
        return (*file)->write(buffer).error();
    }
    static std::string read(const std::string& name) {
        auto file = vfs::open(name, open_flag::rdonly);
        if (!file)
            return "error " + std::to_string(static_cast<int>(file.error()));
        std::string text(100000, 0);
        auto count = (*file)->read_at(text.data(), text.size(), 0);
        text.resize(count ? *count : 0);
        return text;
    }
    static Errno error_of_lookup(const std::string& name) {
        auto found = vfs::lookup(name);
        return found ? Errno::ok : found.error();
    }
    struct Names final : DirectorySink {
        bool entry(const char* name, std::size_t length, std::uint64_t, std::uint8_t,
                   std::uint64_t) noexcept override {
            if (list.size() == limit)
                return false;
            list.emplace_back(name, length);
            return true;
        }
        std::vector<std::string> list;
        std::size_t limit{1000};
    };
    static std::vector<std::string> list(const std::string& name, std::size_t at_once = 1000) {
        auto file = vfs::open(name, open_flag::rdonly | open_flag::directory);
        std::vector<std::string> all;
        for (;;) {
            Names names;
            names.limit = at_once;
            EXPECT_TRUE((*file)->ops->read_directory(**file, names));
            if (names.list.empty())
                break;
            all.insert(all.end(), names.list.begin(), names.list.end());
        }
        return all;
    }
    std::string base;
};

TEST_F(VfsTest, WritesAndReadsBack) {
    const std::string text(10000, 'x');
    EXPECT_EQ(write("a", text), Errno::ok);
    EXPECT_EQ(read("a"), text);
    EXPECT_EQ(read(base + "/./../" + base.substr(1) + "/a"), text);
}

TEST_F(VfsTest, SparseFilesReadAsZero) {
    auto file = vfs::open("s", open_flag::creat | open_flag::rdwr, 0644);
    ASSERT_TRUE(file);
    char byte = 'z';
    auto buffer = IoBuffer::kernel(&byte, 1);
    ASSERT_TRUE((*file)->ops->write(**file, buffer, 100000));
    const std::string text = read("s");
    EXPECT_EQ((*file)->inode->size, 100001U);
    EXPECT_EQ(text, std::string(100000, 0));
}

TEST_F(VfsTest, TruncateClearsTheTail) {
    EXPECT_EQ(write("t", std::string(5000, 'a')), Errno::ok);
    auto path = vfs::lookup("t");
    ASSERT_TRUE(vfs::truncate(*path->inode(), 10));
    ASSERT_TRUE(vfs::truncate(*path->inode(), 20));
    EXPECT_EQ(read("t"), std::string(10, 'a') + std::string(10, 0));
}

TEST_F(VfsTest, CreateFlags) {
    EXPECT_EQ(write("f", "1"), Errno::ok);
    EXPECT_EQ(write("f", "2", open_flag::excl), Errno::exist);
    EXPECT_EQ(write("f", "22", open_flag::append), Errno::ok);
    EXPECT_EQ(read("f"), "122");
    EXPECT_EQ(write("f", "3", open_flag::trunc), Errno::ok);
    EXPECT_EQ(read("f"), "3");
    EXPECT_EQ(write("missing/f", "x"), Errno::noent);
    EXPECT_EQ(write("f/f", "x"), Errno::notdir);
    EXPECT_EQ(write(".", "x"), Errno::isdir);
}

TEST_F(VfsTest, SymbolicLinks) {
    EXPECT_EQ(write("target", "t"), Errno::ok);
    ASSERT_TRUE(vfs::make_symlink("target", "link"));
    ASSERT_TRUE(vfs::make_symlink("loop", "loop"));
    ASSERT_TRUE(vfs::make_symlink("later", "dangling"));
    EXPECT_EQ(read("link"), "t");
    EXPECT_EQ(error_of_lookup("loop"), Errno::loop);
    EXPECT_EQ(error_of_lookup("dangling"), Errno::noent);
    EXPECT_EQ(write("dangling", "made"), Errno::ok);
    EXPECT_EQ(read("later"), "made");
    EXPECT_EQ(vfs::open("link", open_flag::nofollow).error(), Errno::loop);
    EXPECT_EQ(error_of_lookup("target/"), Errno::notdir);
}

TEST_F(VfsTest, HardLinksCount) {
    EXPECT_EQ(write("one", "1"), Errno::ok);
    auto one = vfs::lookup("one");
    ASSERT_TRUE(vfs::make_link(*one, "two", nullptr));
    EXPECT_EQ(one->inode()->link_count, 2U);
    ASSERT_TRUE(vfs::remove("one", nullptr, false));
    EXPECT_EQ(read("two"), "1");
    EXPECT_EQ(error_of_lookup("one"), Errno::noent);
    EXPECT_EQ(one->inode()->link_count, 1U);
}

TEST_F(VfsTest, RemovedFileStaysReadable) {
    EXPECT_EQ(write("gone", "still"), Errno::ok);
    auto file = vfs::open("gone", open_flag::rdonly);
    ASSERT_TRUE(vfs::remove("gone", nullptr, false));
    char text[8];
    EXPECT_EQ(*(*file)->read_at(text, sizeof(text), 0), 5U);
}

TEST_F(VfsTest, Directories) {
    ASSERT_TRUE(vfs::make_directory("d", 0755));
    EXPECT_EQ(vfs::make_directory("d", 0755).error(), Errno::exist);
    EXPECT_EQ(write("d/x", "1"), Errno::ok);
    EXPECT_EQ(vfs::remove("d", nullptr, true).error(), Errno::notempty);
    EXPECT_EQ(vfs::remove("d", nullptr, false).error(), Errno::isdir);
    EXPECT_EQ(vfs::remove("d/x", nullptr, true).error(), Errno::notdir);
    ASSERT_TRUE(vfs::remove("d/x", nullptr, false));
    ASSERT_TRUE(vfs::remove("d/", nullptr, true));
    EXPECT_EQ(error_of_lookup("d"), Errno::noent);
}

TEST_F(VfsTest, ReaddirInPieces) {
    for (int i = 0; i < 100; ++i)
        EXPECT_EQ(write("n" + std::to_string(i), ""), Errno::ok);
    const auto names = list(".", 7);
    ASSERT_EQ(names.size(), 102U);
    EXPECT_EQ(names[0], ".");
    EXPECT_EQ(names[1], "..");
    EXPECT_EQ(names[2], "n0");
    EXPECT_EQ(names[101], "n99");
}

TEST_F(VfsTest, Rename) {
    EXPECT_EQ(write("a", "A"), Errno::ok);
    EXPECT_EQ(write("b", "B"), Errno::ok);
    ASSERT_TRUE(vfs::rename("a", nullptr, "b", nullptr, 0));
    EXPECT_EQ(read("b"), "A");
    EXPECT_EQ(error_of_lookup("a"), Errno::noent);
    ASSERT_TRUE(vfs::make_directory("d1", 0755));
    ASSERT_TRUE(vfs::make_directory("d1/sub", 0755));
    EXPECT_EQ(vfs::rename("d1", nullptr, "d1/sub/x", nullptr, 0).error(), Errno::inval);
    ASSERT_TRUE(vfs::rename("b", nullptr, "d1/sub/c", nullptr, 0));
    EXPECT_EQ(read("d1/sub/c"), "A");
    ASSERT_TRUE(vfs::rename("d1/sub", nullptr, "moved", nullptr, 0));
    EXPECT_EQ(read("moved/c"), "A");
    EXPECT_EQ(vfs::rename("moved", nullptr, "moved2", nullptr, 1).error(), Errno::ok);
    char text[256];
    auto path = vfs::lookup("moved2/c");
    ASSERT_TRUE(vfs::name_of(*path, text, sizeof(text)));
    EXPECT_EQ(std::string(text), base + "/moved2/c");
}

TEST_F(VfsTest, MountsCoverAndUncover) {
    ASSERT_TRUE(vfs::make_directory("m", 0755));
    EXPECT_EQ(write("m/below", "b"), Errno::ok);
    ASSERT_TRUE(vfs::mount("none", base + "/m", "tmpfs", 0, "mode=1777"));
    EXPECT_EQ(error_of_lookup("m/below"), Errno::noent);
    EXPECT_EQ(write("m/above", "a"), Errno::ok);
    EXPECT_EQ(vfs::lookup("m")->inode()->mode, mode::directory | 01777U);
    EXPECT_EQ(vfs::lookup("m/..")->dentry.get(), current_fs().cwd.dentry.get());
    EXPECT_EQ(vfs::remove("m", nullptr, true).error(), Errno::busy);
    {
        auto held = vfs::open("m/above", open_flag::rdonly);
        EXPECT_EQ(vfs::unmount("m", 0).error(), Errno::busy);
    }
    EXPECT_EQ(vfs::rename("m/above", nullptr, "x", nullptr, 0).error(), Errno::xdev);
    ASSERT_TRUE(vfs::unmount("m", 0));
    EXPECT_EQ(read("m/below"), "b");
}

TEST_F(VfsTest, ReadOnlyMount) {
    ASSERT_TRUE(vfs::make_directory("ro", 0755));
    ASSERT_TRUE(vfs::mount("none", base + "/ro", "tmpfs", 1, ""));
    EXPECT_EQ(write("ro/x", "1"), Errno::rofs);
    ASSERT_TRUE(vfs::unmount("ro", 0));
}

TEST_F(VfsTest, UnmountGivesEveryPageBack) {
    ASSERT_TRUE(vfs::make_directory("m", 0755));
    const std::size_t before = host::pages_in_use();
    ASSERT_TRUE(vfs::mount("none", base + "/m", "tmpfs", 0, ""));
    ASSERT_TRUE(vfs::make_directory("m/d", 0755));
    EXPECT_EQ(write("m/d/f", std::string(20000, 'f')), Errno::ok);
    EXPECT_GT(host::pages_in_use(), before);
    ASSERT_TRUE(vfs::unmount("m", 0));
    EXPECT_EQ(host::pages_in_use(), before);
}

TEST_F(VfsTest, DeviceNodes) {
    ASSERT_TRUE(vfs::make_directory("dev", 0755));
    ASSERT_TRUE(vfs::mount("none", base + "/dev", "devtmpfs", 0, ""));
    EXPECT_EQ(read("dev/null"), "");
    {
        auto zero = vfs::open("dev/zero", open_flag::rdonly);
        ASSERT_TRUE(zero);
        char bytes[4] = {1, 2, 3, 4};
        EXPECT_EQ(*(*zero)->read_at(bytes, 4, 0), 4U);
        EXPECT_EQ(bytes[3], 0);
    }
    ASSERT_TRUE(vfs::unmount("dev", 0));
}

TEST_F(VfsTest, EveryAllocationMayFail) {
    for (int count = 0; count < 60; ++count) {
        host::fail_allocations_after(count);
        const Errno created = write("oom/d/f", "x");
        const Errno made = vfs::make_directory("oom", 0755).error();
        const Errno written = write("oom/f", std::string(9000, 'y'));
        const Errno linked = vfs::make_symlink("f", "oom/l").error();
        const Errno moved = vfs::rename("oom/f", nullptr, "oom/g", nullptr, 0).error();
        host::fail_allocations_after(-1);
        (void)created, (void)made, (void)written, (void)linked, (void)moved;
        (void)vfs::remove("oom/f", nullptr, false);
        (void)vfs::remove("oom/g", nullptr, false);
        (void)vfs::remove("oom/l", nullptr, false);
        if (error_of_lookup("oom") == Errno::ok) {
            EXPECT_TRUE(vfs::remove("oom", nullptr, true));
        }
    }
}

TEST_F(VfsTest, UnpacksInitramfs) {
    const std::string at = ".";
    std::string archive = cpio_member(at + "/bin", 040755, "") +
                          cpio_member(at + "/bin/sh", 0100755, "program", 7, 2) +
                          cpio_member(at + "/bin/ls", 0100755, "", 7, 2) +
                          cpio_member(at + "/lnk", 0120777, "bin/sh") +
                          cpio_member(at + "/con", 020600, "") + cpio_member("TRAILER!!!", 0, "");
    archive += std::string(512, 0) + cpio_member(at + "/second", 0100644, "2") +
               cpio_member("TRAILER!!!", 0, "");
    ASSERT_TRUE(vfs::unpack_initramfs(archive.data(), archive.size()));
    EXPECT_EQ(read("lnk"), "program");
    EXPECT_EQ(read("bin/ls"), "program");
    EXPECT_EQ(read("second"), "2");
    EXPECT_EQ(vfs::lookup("bin/ls")->inode()->link_count, 2U);
    EXPECT_EQ(vfs::lookup("bin/sh")->inode()->mode, mode::regular | 0755U);
    EXPECT_EQ(vfs::lookup("con")->inode()->device, make_device(5, 1));
}

TEST_F(VfsTest, DoesNotWaitForAFifoInAnArchive) {
    const std::string archive = cpio_member("n", 010600, "") + cpio_member("n", 0100644, "body") +
                                cpio_member("after", 0100644, "2");
    ASSERT_TRUE(vfs::unpack_initramfs(archive.data(), archive.size()));
    EXPECT_EQ(read("after"), "2");
}

TEST_F(VfsTest, RefusesBadArchives) {
    EXPECT_EQ(
        vfs::unpack_initramfs(
            "\x1f\x8b garbage that is long enough to be looked at by the unpacker................"
            "..................................................",
            128)
            .error(),
        Errno::inval);
    std::string cut = cpio_member("f", 0100644, std::string(100, 'x'));
    EXPECT_EQ(vfs::unpack_initramfs(cut.data(), cut.size() - 50).error(), Errno::io);
}

} // namespace
