// SPDX-License-Identifier: BSD-2-Clause
// Waiting watch events: a guest that writes below a watched node cannot make them many, and
// nothing that changed goes unreported.
#include "xenbus/event_queue.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

using namespace drivers::xenbus;

namespace {

struct OwnEvent : FiredEvent {
    std::string text;
};

struct EventQueueTest : testing::Test {
    EventQueue queue;
    Watch watch, other;
    std::size_t allocated{};

    void SetUp() override {
        watch.path = "/watched";
        other.path = "/other";
    }
    void TearDown() override {
        while (FiredEvent* event = queue.take())
            release(event);
        EXPECT_EQ(allocated, 0u);
    }
    void release(FiredEvent* event) {
        if (event == nullptr || (event->watch != nullptr && !EventQueue::is_allocated(*event)))
            return;
        delete static_cast<OwnEvent*>(event);
        --allocated;
    }
    void fire(Watch& where, const std::string& path) {
        auto* event = new OwnEvent;
        ++allocated;
        event->text = path;
        event->path = event->text.c_str();
        release(queue.add(where, event));
    }
    /// The paths that wait, in their order.
    std::vector<std::string> drain() {
        std::vector<std::string> paths;
        while (FiredEvent* event = queue.take()) {
            paths.emplace_back(event->path);
            release(event);
        }
        return paths;
    }
};

TEST_F(EventQueueTest, AWatchThatDoesNotLookAtPathsHasOneWaitingEvent) {
    watch.any_path = true;
    for (int i = 0; i < 100'000; ++i) {
        fire(watch, "/watched/state/" + std::to_string(i));
        ASSERT_EQ(allocated, 0u);
    }
    EXPECT_EQ(drain(), std::vector<std::string>{"/watched"});
    fire(watch, "/watched/state/again"); // taken, so the next change is reported again
    EXPECT_EQ(drain(), std::vector<std::string>{"/watched"});
}

TEST_F(EventQueueTest, OtherWatchesKeepPathsAndOrderUntilThereAreTooMany) {
    fire(watch, "/watched/a");
    fire(other, "/other/x");
    fire(watch, "/watched/b");
    fire(watch, "/watched/a");
    EXPECT_EQ(drain(), (std::vector<std::string>{"/watched/a", "/other/x", "/watched/b"}));
    for (int i = 0; i < 100'000; ++i) {
        fire(watch, "/watched/" + std::to_string(i));
        ASSERT_LE(allocated, EventQueue::paths_max);
    }
    fire(other, "/other/y"); // has room of its own
    const auto paths = drain();
    ASSERT_EQ(paths.size(), EventQueue::paths_max + 2);
    EXPECT_EQ(paths[EventQueue::paths_max - 1],
              "/watched/" + std::to_string(EventQueue::paths_max - 1));
    EXPECT_EQ(paths[EventQueue::paths_max], "/watched"); // stands for all the rest
    EXPECT_EQ(paths.back(), "/other/y");
    fire(watch, "/watched/c");
    EXPECT_EQ(drain(), std::vector<std::string>{"/watched/c"});
}

TEST_F(EventQueueTest, NoMemoryLosesNoEvent) {
    EXPECT_EQ(queue.add(watch, nullptr), nullptr);
    EXPECT_EQ(queue.add(watch, nullptr), nullptr);
    EXPECT_EQ(drain(), std::vector<std::string>{"/watched"});
}

TEST_F(EventQueueTest, ARemovedWatchLeavesNothing) {
    for (int i = 0; i < 100; ++i) {
        fire(watch, "/watched/" + std::to_string(i));
        fire(other, "/other/" + std::to_string(i % 3));
    }
    while (FiredEvent* event = queue.forget(watch))
        release(event);
    EXPECT_EQ(watch.waiting_paths, 0u);
    EXPECT_FALSE(watch.whole.link.is_linked());
    EXPECT_EQ(drain(), (std::vector<std::string>{"/other/0", "/other/1", "/other/2"}));
}

TEST_F(EventQueueTest, EachChangeIsReportedAfterItWasMade) {
    std::mt19937 random{1};
    std::set<std::string> unreported;
    for (int step = 0; step < 20'000; ++step) {
        if (random() % 8 != 0) {
            const std::string path = "/watched/" + std::to_string(random() % 200);
            unreported.insert(path);
            fire(watch, path);
        } else if (FiredEvent* event = queue.take()) {
            if (event == &watch.whole)
                unreported.clear(); // whoever hears this looks at everything
            else
                unreported.erase(event->path);
            release(event);
        }
    }
    while (FiredEvent* event = queue.take()) {
        if (event == &watch.whole)
            unreported.clear();
        else
            unreported.erase(event->path);
        release(event);
    }
    EXPECT_TRUE(unreported.empty());
}

} // namespace
