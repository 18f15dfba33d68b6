// SPDX-License-Identifier: BSD-2-Clause
// StoreClient: requests to XenStore, through the server's socket or the kernel's device.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "store/wire.hpp"

#include <cero/lib/result.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cero::control {

/// The bytes between a client and the store; a test talks to a store in its own process.
class StoreLink {
public:
    virtual ~StoreLink() = default;
    virtual bool send(std::string_view bytes) = 0;
    /// Some bytes, or an empty string when `timeout_ms` (-1: none) passes. std::nullopt at the end.
    virtual std::optional<std::string> receive(int timeout_ms) = 0;
    [[nodiscard]] virtual int fd() const noexcept { return -1; }
};

struct WatchEvent {
    std::string path;
    std::string token;
};

using StoreEntry = std::pair<std::string, std::string>;
using StoreOp = store::Op;

class StoreClient {
public:
    /// A server that says nothing for so long has a fault: the request throws Error, and each later
    /// one at once.
    static constexpr int patience_ms = 30'000;

    /// Throws Error when no store answers.
    static StoreClient open();
    explicit StoreClient(std::unique_ptr<StoreLink> link, int patience = patience_ms)
        : link_{std::move(link)}, patience_ms_{patience} {}

    /// The reply's payload or the store's error. Throws Error when the store is gone or silent.
    Result<std::string> request(store::Op op, std::string_view payload,
                                std::uint32_t transaction = 0);

    [[nodiscard]] std::optional<std::string> read(std::string_view path,
                                                  std::uint32_t transaction = 0);
    /// std::nullopt when the node does not exist. Ends even if somebody changes it all the time.
    [[nodiscard]] std::optional<std::vector<std::string>> list(std::string_view path,
                                                               std::uint32_t transaction = 0);
    /// The three that change something throw Error with the path and the cause.
    void write(std::string_view path, std::string_view value, std::uint32_t transaction = 0);
    void remove(std::string_view path, std::uint32_t transaction = 0);
    void set_permissions(std::string_view path, const std::vector<std::string>& permissions,
                         std::uint32_t transaction = 0);
    /// Requests without order among each other's replies in mind: all are sent, then all replies
    /// are read. Throws the first error.
    void send_all(const std::vector<std::pair<store::Op, std::string>>& requests,
                  std::uint32_t transaction);
    /// Runs `body` in a transaction until it commits without conflict.
    void transact(const std::function<void(std::uint32_t transaction)>& body);

    void watch(std::string_view path, std::string_view token);
    void unwatch(std::string_view path, std::string_view token);
    /// The next event, or std::nullopt when the time has passed.
    [[nodiscard]] std::optional<WatchEvent> wait(int timeout_ms);
    /// An event that has already been received, without asking the store.
    [[nodiscard]] std::optional<WatchEvent> pending();
    [[nodiscard]] int fd() const noexcept { return link_->fd(); }

private:
    std::optional<std::vector<std::string>> list_in_parts(std::string_view path,
                                                          std::uint32_t transaction);
    store::Message receive_message();
    bool receive_more(int timeout_ms);
    void await_more();
    Result<std::string> reply_to(std::uint32_t request, store::Op op);
    void take(store::Message message);

    std::unique_ptr<StoreLink> link_;
    store::Decoder decoder_;
    std::deque<WatchEvent> events_;
    std::deque<store::Message> replies_;
    std::uint32_t next_request_{1};
    int patience_ms_;
    bool is_silent_{false};
};

/// "path\0" and "path\0value", the payloads of most requests.
[[nodiscard]] std::string path_payload(std::string_view path);
[[nodiscard]] std::string write_payload(std::string_view path, std::string_view value);
[[nodiscard]] std::string permissions_payload(std::string_view path,
                                              const std::vector<std::string>& permissions);

} // namespace cero::control
