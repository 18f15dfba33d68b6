// SPDX-License-Identifier: BSD-2-Clause
// VirtQueue against a device that answers in random order, and against one that lies.
#include "virtio/virtqueue.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <vector>

using namespace drivers::virtio;

namespace {

/// The device's side of the ring, working on the same memory.
class FakeDevice {
public:
    alignas(16) Descriptor descriptors[VirtQueue::max_size]{};
    alignas(2) std::uint16_t available[VirtQueue::available_bytes / 2]{};
    alignas(4) std::uint16_t used[VirtQueue::used_bytes / 2]{};
    unsigned size = 16;
    std::uint16_t seen = 0;
    std::vector<std::uint16_t> held;

    void fetch() {
        while (seen != available[1])
            held.push_back(available[2 + seen++ % size]);
    }
    unsigned chain_length(std::uint16_t head) const {
        unsigned count = 1;
        for (std::uint16_t at = head; (descriptors[at].flags & descriptor_next) != 0;
             at = descriptors[at].next)
            ++count;
        return count;
    }
    void finish(std::uint32_t id, std::uint32_t length) {
        const unsigned slot = used[1] % size;
        std::memcpy(&used[2 + 4 * slot], &id, 4);
        std::memcpy(&used[4 + 4 * slot], &length, 4);
        ++used[1];
    }
};

class Queue : public testing::TestWithParam<bool> {
protected:
    FakeDevice device;
    VirtQueue queue;
    void SetUp() override {
        queue.initialise(device.descriptors, device.available, device.used, device.size,
                         GetParam());
    }
};
INSTANTIATE_TEST_SUITE_P(EventIndex, Queue, testing::Bool());

TEST_P(Queue, EveryChainComesBackOnceWhateverTheOrder) {
    std::mt19937 random{11};
    std::set<std::uintptr_t> out;
    std::uintptr_t next = 1;
    for (int round = 0; round < 50000; ++round) {
        const unsigned chain = 1 + random() % 4;
        if (chain <= queue.free_descriptors() && (random() & 1) != 0) {
            const Buffer buffers[4] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}};
            const unsigned readable = random() % (chain + 1);
            ASSERT_TRUE(queue.add(buffers, readable, buffers, chain - readable,
                                  reinterpret_cast<void*>(next)));
            out.insert(next++);
            static_cast<void>(queue.publish());
        }
        device.fetch();
        if (!device.held.empty() && (random() & 1) != 0) {
            const std::size_t pick = random() % device.held.size();
            ASSERT_LE(device.chain_length(device.held[pick]), 4u);
            device.finish(device.held[pick], 7);
            device.held.erase(device.held.begin() + static_cast<std::ptrdiff_t>(pick));
        }
        std::uint32_t written;
        while (void* token = queue.take(written)) {
            EXPECT_EQ(written, 7u);
            ASSERT_EQ(out.erase(reinterpret_cast<std::uintptr_t>(token)), 1u);
        }
        ASSERT_EQ(queue.in_flight(), out.size());
    }
    EXPECT_GT(next, 1000u);
}

TEST_P(Queue, FullMeansFullAndNothingIsTaken) {
    const Buffer buffer{1, 1};
    for (unsigned i = 0; i < 16; ++i)
        ASSERT_TRUE(queue.add(&buffer, 1, nullptr, 0, this));
    EXPECT_FALSE(queue.add(&buffer, 1, nullptr, 0, this));
    EXPECT_FALSE(queue.add_indirect(0, 3, this));
    EXPECT_EQ(queue.free_descriptors(), 0u);
    while (queue.abandon() != nullptr) {
    }
    EXPECT_EQ(queue.free_descriptors(), 16u);
    EXPECT_EQ(queue.in_flight(), 0u);
}

TEST_P(Queue, LiesOfTheDeviceAreIgnored) {
    const Buffer buffer{1, 1};
    ASSERT_TRUE(queue.add(&buffer, 1, nullptr, 0, this));
    static_cast<void>(queue.publish());
    device.finish(4000, 1); // no such descriptor
    device.finish(9, 1);    // not in flight
    device.fetch();
    device.finish(device.held[0], 1);
    device.finish(device.held[0], 1); // twice
    std::uint32_t written;
    EXPECT_EQ(queue.take(written), this);
    EXPECT_EQ(queue.take(written), nullptr);
    EXPECT_EQ(queue.free_descriptors(), 16u);
}

TEST(QueueTable, ChainsIndirectDescriptors) {
    Descriptor table[3];
    const Buffer out[] = {{0x1000, 16}, {0x2000, 512}};
    const Buffer in[] = {{0x3000, 1}};
    ASSERT_EQ(VirtQueue::fill_table(table, out, 2, in, 1), 3u);
    EXPECT_EQ(table[0].flags, descriptor_next);
    EXPECT_EQ(table[1].next, 2);
    EXPECT_EQ(table[2].flags, descriptor_write);
}

TEST(QueueNotify, EventIndexSuppressesUntilAsked) {
    FakeDevice device;
    VirtQueue queue;
    queue.initialise(device.descriptors, device.available, device.used, device.size, true);
    const Buffer buffer{1, 1};
    ASSERT_TRUE(queue.add(&buffer, 1, nullptr, 0, &device));
    EXPECT_TRUE(queue.publish()) << "the device waits for index 0";
    ASSERT_TRUE(queue.add(&buffer, 1, nullptr, 0, &device));
    EXPECT_FALSE(queue.publish());
    device.used[2 + 4 * device.size] = 2;
    ASSERT_TRUE(queue.add(&buffer, 1, nullptr, 0, &device));
    EXPECT_TRUE(queue.publish());
}

} // namespace
