// SPDX-License-Identifier: BSD-2-Clause
// Pipes, record locks, epoll and descriptor tables.
#include "../file_locks.hpp"
#include "../pipe.hpp"
#include "../wait_table.hpp"
#include "host_kernel.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace kernel;

namespace {

class PipeTest : public ::testing::Test {
protected:
    void SetUp() override { host::start(); }
    static Result<std::size_t> write(File& file, const std::string& text) {
        auto buffer = IoBuffer::kernel(static_cast<const void*>(text.data()), text.size());
        return file.write(buffer);
    }
    static std::string read(File& file, std::size_t size) {
        std::string out(size, 0);
        auto buffer = IoBuffer::kernel(out.data(), size);
        auto count = file.read(buffer);
        out.resize(count ? *count : 0);
        return out;
    }
};

TEST_F(PipeTest, CarriesBytesInOrder) {
    auto ends = pipe::create(open_flag::nonblock);
    ASSERT_TRUE(ends);
    std::string sent;
    std::string received;
    for (int i = 0; i < 200; ++i) {
        const std::string part(static_cast<std::size_t>(i * 7 % 1000),
                               static_cast<char>('a' + i % 26));
        ASSERT_EQ(*write(*ends->writer, part), part.size());
        sent += part;
        received += read(*ends->reader, 997);
    }
    while (received.size() < sent.size())
        received += read(*ends->reader, 5000);
    EXPECT_EQ(sent, received);
    EXPECT_EQ(ends->reader->ops->poll(*ends->reader, nullptr), 0U);
}

TEST_F(PipeTest, FullAndEmptyAndClosed) {
    auto ends = pipe::create(open_flag::nonblock);
    char byte;
    auto one = IoBuffer::kernel(&byte, 1);
    EXPECT_EQ(ends->reader->read(one).error(), Errno::again);
    EXPECT_EQ(*write(*ends->writer, std::string(100000, 'x')), 65536U);
    EXPECT_EQ(write(*ends->writer, "y").error(), Errno::again);
    ends->reader = nullptr;
    EXPECT_EQ(write(*ends->writer, "y").error(), Errno::pipe);
    EXPECT_EQ(host::taken_signal(), 13);
    EXPECT_NE(ends->writer->ops->poll(*ends->writer, nullptr) & poll_event::err, 0U);
}

TEST_F(PipeTest, EndOfFileWhenWriterGoes) {
    auto ends = pipe::create(0);
    ASSERT_TRUE(write(*ends->writer, "last"));
    WaitTable table;
    EXPECT_NE(ends->reader->ops->poll(*ends->reader, &table) & poll_event::in, 0U);
    ends->writer = nullptr;
    EXPECT_EQ(read(*ends->reader, 10), "last");
    EXPECT_EQ(read(*ends->reader, 10), "");
    EXPECT_TRUE(table.wait(5));
}

TEST_F(PipeTest, DescriptorsCountReferences) {
    auto ends = pipe::create(0);
    FdTable& table = current_files();
    const int a = *table.install(std::move(ends->reader), true);
    EXPECT_EQ(a, 0);
    EXPECT_TRUE(table.install_at(40, *table.lookup(a), false));
    table.close_on_exec();
    EXPECT_EQ(table.lookup(a).error(), Errno::badf);
    EXPECT_TRUE(table.lookup(40));
    auto copy = table.duplicate();
    EXPECT_EQ((*table.lookup(40))->references(), 3U);
    EXPECT_TRUE(table.close(40));
    EXPECT_EQ(table.close(40).error(), Errno::badf);
}

TEST_F(PipeTest, RecordLocks) {
    using namespace file_locks;
    auto file = vfs::open("/locked", open_flag::creat | open_flag::rdwr, 0644);
    Inode& inode = *(*file)->inode;
    int a = 0;
    int b = 0;
    EXPECT_TRUE(set(inode, &a, {0, 99, Kind::write, 1}, false));
    EXPECT_EQ(set(inode, &b, {50, 60, Kind::read, 2}, false).error(), Errno::again);
    EXPECT_TRUE(set(inode, &a, {40, 69, Kind::none, 1}, false));
    EXPECT_TRUE(set(inode, &b, {50, 60, Kind::read, 2}, false));
    EXPECT_TRUE(set(inode, &a, {50, 60, Kind::read, 1}, false));
    EXPECT_EQ(find_conflict(inode, &b, {60, 80, Kind::write, 2}).pid, 1);
    EXPECT_EQ(find_conflict(inode, &b, {40, 45, Kind::write, 2}).kind, Kind::none);
    EXPECT_TRUE(set(inode, &a, {0, ~std::uint64_t{0}, Kind::none, 1}, false));
    EXPECT_TRUE(set(inode, &b, {0, ~std::uint64_t{0}, Kind::none, 2}, false));
}

} // namespace
