// SPDX-License-Identifier: BSD-2-Clause
// EventQueue: watch events that have come and are not reported yet. Bounded, whoever causes them.
#pragma once

#include "store.hpp"

namespace drivers::xenbus {

/// At most `paths_max` events with paths of their own wait for one watch, and one that names the
/// watched node: it says that anything below may have changed, and stands for all after it. The
/// owner locks; events other than Watch::whole are the caller's memory.
class EventQueue {
public:
    static constexpr unsigned paths_max = 64;

    /// Queues an event of this watch: `event`, or the watch's own if that is null (no memory) or
    /// its path is not needed. Returns `event` if it was not taken.
    [[nodiscard]] FiredEvent* add(Watch& watch, FiredEvent* event) noexcept;
    /// The oldest event, or null.
    [[nodiscard]] FiredEvent* take() noexcept;
    /// Unlinks the events of a watch; each call returns one to be freed, the last one null.
    [[nodiscard]] FiredEvent* forget(Watch& watch) noexcept;
    [[nodiscard]] bool empty() const noexcept { return events_.empty(); }
    [[nodiscard]] static bool is_allocated(const FiredEvent& event) noexcept {
        return &event != &event.watch->whole;
    }

private:
    cero::IntrusiveList<FiredEvent, &FiredEvent::link> events_;
};

} // namespace drivers::xenbus
