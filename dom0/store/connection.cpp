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
        const Outgoing& sent = queue_.front();
        if (sent.is_event) {
            event_bytes_ -= sent.bytes.size();
            waiting_.erase(sent.bytes);
        } else {
            --replies_;
        }
        queue_.pop_front();
        offset_ = 0;
    }
}

void Connection::push_reply(const Message& message) {
    ++revision;
    queue_.push_back({encode(message), false});
    ++replies_;
}

bool Connection::has_room_for(std::size_t bytes, const Limits& limits) const noexcept {
    if (is_kernel)
        return true; // Core holds back those who would fill it
    if (caller.is_privileged())
        return queue_.size() < limits.control_queue;
    return queued_events() < limits.queued_events &&
           event_bytes_ + bytes <= limits.queued_event_bytes;
}

void Connection::push_event(std::string_view path, std::string_view token, const Limits& limits,
                            bool is_first) {
    const std::size_t size = path.size() + token.size() + 2;
    if (size > payload_max)
        return;
    // Before any byte is looked at: a guest can have very many events refused at once.
    if (!has_room_for(header_size + size, limits)) {
        if (caller.is_privileged())
            doom();
        else
            ++dropped_;
        return;
    }
    std::string payload;
    payload.reserve(size);
    payload.append(path).push_back('\0');
    payload.append(token).push_back('\0');
    std::string bytes;
    bytes.reserve(header_size + size);
    encode_to(bytes, Op::watch_event, 0, 0, payload);
    // A reader that is behind needs each event once: what still waits will be read after the
    // change.
    if (!is_first && waiting_.contains(bytes))
        return;
    ++revision;
    event_bytes_ += bytes.size();
    queue_.push_back({std::move(bytes), true});
    waiting_.insert(queue_.back().bytes);
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
    waiting_.clear();
    queue_.clear();
    event_bytes_ = 0;
    offset_ = 0;
    replies_ = 0;
}

} // namespace cero::store
