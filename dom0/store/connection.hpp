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
#include <unordered_set>

namespace cero::store {

/// A path (or special name) that a client wants to hear of.
struct Watch {
    std::string path; ///< absolute, or "@introduceDomain" and the like
    std::string token;
    std::string prefix; ///< what is cut from reported paths: the client registered a relative path
    std::optional<unsigned> depth; ///< how many levels below `path` are reported; all when empty
};

/// Bounds for one unprivileged client; dom0's own clients are bounded by the last two alone.
struct Limits {
    TreeLimits tree;
    std::size_t watches{128};
    std::size_t transactions{10};
    std::size_t outstanding{20};     ///< answers waiting in the queue before we stop reading
    std::size_t queued_events{1024}; ///< events waiting in a guest's queue
    std::size_t queued_event_bytes{256 << 10};
    std::size_t control_queue{32768}; ///< messages waiting for a program of dom0's
    /// Events waiting for dom0's kernel. It cannot be disconnected, so above this guests wait.
    std::size_t kernel_events{2000};
};

/// Owned by its transport, registered with a Core. Not thread safe.
class Connection {
public:
    explicit Connection(DomainNumber domain) : caller{domain, no_domain} {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Caller caller;
    bool is_kernel{false}; ///< dom0's kernel: without the store dom0 is lost
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
    [[nodiscard]] std::size_t queued_events() const noexcept { return queue_.size() - replies_; }
    [[nodiscard]] std::size_t dropped_events() const noexcept { return dropped_; }

    void push_reply(const Message& message);
    /// Queues a watch event, unless the same one already waits or the queue is at its bound. The
    /// first event of a new watch follows the reply, even if an equal one of an earlier watch
    /// waits.
    void push_event(std::string_view path, std::string_view token, const Limits& limits,
                    bool is_first = false);

    /// Set when the client can never be served again (broken stream, endless queue).
    [[nodiscard]] bool is_doomed() const noexcept { return doomed_ || decoder.is_broken(); }
    void doom() noexcept { doomed_ = true; }

    /// Set when serve() has stopped for the others' sake, not for want of requests.
    bool has_had_turn{false};
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
    [[nodiscard]] bool has_room_for(std::size_t bytes, const Limits& limits) const noexcept;
    std::deque<Outgoing> queue_;
    std::unordered_set<std::string_view> waiting_; ///< the events in queue_, whose bytes these are
    std::size_t event_bytes_{0};
    std::size_t offset_{0};
    std::size_t replies_{0};
    std::size_t dropped_{0};
    bool doomed_{false};
};

} // namespace cero::store
