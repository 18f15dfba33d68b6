// SPDX-License-Identifier: BSD-2-Clause
// Which watch events wait, and which are said by others.
#include "event_queue.hpp"

#include <cstring>

namespace drivers::xenbus {

FiredEvent* EventQueue::add(Watch& watch, FiredEvent* event) noexcept {
    if (watch.whole.link.is_linked())
        return event;
    if (event == nullptr || watch.any_path || watch.waiting_paths >= paths_max) {
        watch.whole.watch = &watch;
        watch.whole.path = watch.path;
        events_.push_back(watch.whole);
        return event;
    }
    for (const FiredEvent& other : events_)
        if (other.watch == &watch && std::strcmp(other.path, event->path) == 0)
            return event;
    event->watch = &watch;
    events_.push_back(*event);
    ++watch.waiting_paths;
    return nullptr;
}

FiredEvent* EventQueue::take() noexcept {
    FiredEvent* event = events_.pop_front();
    if (event != nullptr && is_allocated(*event))
        --event->watch->waiting_paths;
    return event;
}

FiredEvent* EventQueue::forget(Watch& watch) noexcept {
    events_.remove(watch.whole);
    for (FiredEvent& event : events_)
        if (event.watch == &watch) {
            events_.remove(event);
            --watch.waiting_paths;
            return &event;
        }
    return nullptr;
}

} // namespace drivers::xenbus
