// SPDX-License-Identifier: BSD-2-Clause
// A store client's queue of replies and watch events.
#include "store/connection.hpp"

namespace cero::store {

std::string_view Connection::output() const noexcept {
    if (queue_.empty())
        return {};
    return std::string_view{queue_.front().bytes}.substr(offset_);
}

void Connection::consume_output(std::size_t bytes) noexcept {
    offset_ += bytes;
    if (!queue_.empty() && offset_ >= queue_.front().bytes.size()) {
        if (!queue_.front().is_event)
            --replies_;
        queue_.pop_front();
        offset_ = 0;
    }
}

void Connection::push_reply(const Message& message) {
    ++revision;
    queue_.push_back({encode(message), false});
    ++replies_;
}

void Connection::push_event(std::string_view path, std::string_view token, const Limits& limits) {
    std::string payload;
    payload.reserve(path.size() + token.size() + 2);
    payload.append(path).push_back('\0');
    payload.append(token).push_back('\0');
    if (payload.size() > payload_max)
        return;
    std::string bytes;
    encode_to(bytes, Op::watch_event, 0, 0, payload);
    if (caller.is_privileged()) {
        if (queue_.size() >= limits.control_queue) {
            doom();
            return;
        }
    } else {
        // A reader that is behind needs each event once. The message at the front may be on its
        // way.
        const std::size_t waiting = queue_.size() - replies_;
        for (std::size_t i = 1; waiting > 0 && i < queue_.size(); ++i)
            if (queue_[i].is_event && queue_[i].bytes == bytes)
                return;
        if (waiting >= limits.queued_events) {
            ++dropped_;
            return;
        }
    }
    ++revision;
    queue_.push_back({std::move(bytes), true});
}

std::string Connection::all_output() const {
    std::string all;
    for (const Outgoing& message : queue_)
        all += message.bytes;
    return all.substr(offset_);
}

void Connection::restore_output(std::string bytes) {
    if (bytes.empty())
        return;
    queue_.push_back({std::move(bytes), false});
    ++replies_;
}

void Connection::reset_state() {
    ++revision;
    ++watch_revision;
    transactions.clear();
    watches.clear();
}

void Connection::reset_streams() {
    ++revision;
    decoder = Decoder{};
    queue_.clear();
    offset_ = 0;
    replies_ = 0;
}

} // namespace cero::store
