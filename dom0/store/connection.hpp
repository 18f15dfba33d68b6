// SPDX-License-Identifier: BSD-2-Clause
// Connection: one client of the store, whatever carries its bytes: decoder, queue of answers,
// watches.
#pragma once

#include "store/permissions.hpp"
#include "store/transaction.hpp"
#include "store/wire.hpp"

#include <deque>
#include <map>
#include <memory>
#include <string>

namespace cero::store {

/// A path (or special name) that a client wants to hear of.
struct Watch {
    std::string path; ///< absolute, or "@introduceDomain" and the like
    std::string token;
    std::string prefix; ///< what is cut from reported paths: the client registered a relative path
    std::optional<unsigned> depth; ///< how many levels below `path` are reported; all when empty
};

/// Bounds for one unprivileged client; dom0's own clients are bounded by `control_queue` alone.
struct Limits {
    TreeLimits tree;
    std::size_t watches{128};
    std::size_t transactions{10};
    std::size_t outstanding{20};      ///< answers waiting in the queue before we stop reading
    std::size_t queued_events{1024};  ///< events waiting in a guest's queue
    std::size_t control_queue{32768}; ///< messages waiting in a queue of dom0's
};

/// Owned by its transport, registered with a Core. Not thread safe.
class Connection {
public:
    explicit Connection(DomainNumber domain) : caller{domain, no_domain} {}

    Caller caller;
    Decoder decoder;
    std::map<std::uint32_t, std::unique_ptr<Transaction>> transactions;
    std::vector<Watch> watches;
    /// Each grows when what a journal keeps of this client changes.
    std::uint64_t revision{0}, watch_revision{0};

    /// Bytes for the client; the front is a suffix of the first message.
    [[nodiscard]] std::string_view output() const noexcept;
    void consume_output(std::size_t bytes) noexcept;
    [[nodiscard]] bool has_output() const noexcept { return !queue_.empty(); }
    [[nodiscard]] std::size_t queued_replies() const noexcept { return replies_; }
    [[nodiscard]] std::size_t queued_messages() const noexcept { return queue_.size(); }
    [[nodiscard]] std::size_t dropped_events() const noexcept { return dropped_; }

    void push_reply(const Message& message);
    /// Queues a watch event, unless the same one already waits or the queue is at its bound.
    void push_event(std::string_view path, std::string_view token, const Limits& limits);

    /// Set when the client can never be served again (broken stream, endless queue).
    [[nodiscard]] bool is_doomed() const noexcept { return doomed_ || decoder.is_broken(); }
    void doom() noexcept { doomed_ = true; }

    /// Set when a request of a guest was refused because of a quota; whoever reports it clears it.
    bool has_hit_quota{false};

    /// Everything that output() will give, and its opposite for a new connection.
    [[nodiscard]] std::string all_output() const;
    void restore_output(std::string bytes);

    /// Forgets everything that the client has set up (RESET_WATCHES, a new ring).
    void reset_state();
    void reset_streams();

private:
    struct Outgoing {
        std::string bytes;
        bool is_event;
    };
    std::deque<Outgoing> queue_;
    std::size_t offset_{0};
    std::size_t replies_{0};
    std::size_t dropped_{0};
    bool doomed_{false};
};

} // namespace cero::store
