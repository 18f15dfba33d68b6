// SPDX-License-Identifier: BSD-2-Clause
// XenStore requests, pipelined where many are sent at once.
#include "control/store_client.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cero::control {

namespace {

class FileLink final : public StoreLink {
public:
    explicit FileLink(Fd fd) : fd_{std::move(fd)} {}
    bool send(std::string_view bytes) override { return write_all(fd_.get(), bytes); }
    std::optional<std::string> receive(int timeout_ms) override {
        pollfd wait{fd_.get(), POLLIN, 0};
        if (timeout_ms >= 0) {
            const int ready = ::poll(&wait, 1, timeout_ms);
            if (ready == 0 || (ready < 0 && errno == EINTR))
                return std::string{};
        }
        char buffer[8192];
        for (;;) {
            const ssize_t n = ::read(fd_.get(), buffer, sizeof buffer);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return std::nullopt;
            return std::string{buffer, static_cast<std::size_t>(n)};
        }
    }
    [[nodiscard]] int fd() const noexcept override { return fd_.get(); }

private:
    Fd fd_;
};

std::string quoted_path(std::string_view payload) {
    return std::string{payload.substr(0, payload.find('\0'))};
}

[[noreturn]] void fail_request(std::string_view payload, Errno error) {
    std::string remedy;
    if (error == Errno::nospc || error == Errno::too_big)
        remedy = "A quota of XenStore is used up; \"cero check\" shows who has how much.";
    throw Error{
        error == Errno::noent ? ExitCode::not_found : ExitCode::failed,
        fmt::format("XenStore {}: {}", quoted_path(payload), errno_text(static_cast<int>(error))),
        remedy};
}

} // namespace

std::string path_payload(std::string_view path) {
    return std::string{path} + '\0';
}

std::string write_payload(std::string_view path, std::string_view value) {
    std::string payload = path_payload(path);
    payload += value;
    return payload;
}

std::string permissions_payload(std::string_view path,
                                const std::vector<std::string>& permissions) {
    std::string payload = path_payload(path);
    for (const std::string& permission : permissions)
        payload += path_payload(permission);
    return payload;
}

StoreClient StoreClient::open() {
    Fd fd = connect_unix("/run/xenstored/socket");
    if (!fd)
        fd = Fd{::open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC)};
    if (!fd)
        throw Error{ExitCode::not_control, "XenStore: no server answers at /run/xenstored/socket",
                    "Start cero-store, and run this as root in the control domain."};
    return StoreClient{std::make_unique<FileLink>(std::move(fd))};
}

void StoreClient::take(store::Message message) {
    if (static_cast<store::Op>(message.type) != store::Op::watch_event) {
        replies_.push_back(std::move(message));
        return;
    }
    if (const auto strings = store::strings_of(message.payload); strings && strings->size() >= 2)
        events_.push_back({std::string{(*strings)[0]}, std::string{(*strings)[1]}});
}

bool StoreClient::receive_more(int timeout_ms) {
    const auto bytes = link_->receive(timeout_ms);
    if (!bytes)
        throw Error{ExitCode::not_control, "XenStore: the server closed the connection",
                    "/var/log/cero/cero-store.log may say why; it is started again by itself."};
    decoder_.feed(*bytes);
    while (auto message = decoder_.next())
        take(std::move(*message));
    if (decoder_.is_broken())
        throw Error{ExitCode::failed, "XenStore: the server sent nonsense"};
    return !bytes->empty();
}

/// More of what the server owes; throws Error when it says nothing.
void StoreClient::await_more() {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(patience_ms_) * 1'000'000;
    for (std::uint64_t now = monotonic_ns(); !is_silent_ && now < deadline; now = monotonic_ns())
        if (receive_more(static_cast<int>((deadline - now) / 1'000'000) + 1))
            return;
    is_silent_ = true; // what unwinds must not wait once more for each request
    throw Error{ExitCode::not_control,
                fmt::format("XenStore: cero-store has not answered for {} s", patience_ms_ / 1000),
                "It does not run, or hangs: \"killall -9 cero-store\" has it started again; "
                "/var/log/cero/cero-store.log may say why."};
}

Result<std::string> StoreClient::reply_to(std::uint32_t request, store::Op op) {
    for (;;) {
        while (!replies_.empty()) {
            store::Message reply = std::move(replies_.front());
            replies_.pop_front();
            if (reply.request != request)
                continue; // an answer that an exception kept from being read
            if (static_cast<store::Op>(reply.type) == store::Op::error) {
                while (!reply.payload.empty() && reply.payload.back() == '\0')
                    reply.payload.pop_back();
                return store::error_from_name(reply.payload);
            }
            if (static_cast<store::Op>(reply.type) != op)
                return Errno::io;
            return std::move(reply.payload);
        }
        await_more();
    }
}

Result<std::string> StoreClient::request(store::Op op, std::string_view payload,
                                         std::uint32_t transaction) {
    if (payload.size() > store::payload_max)
        return Errno::too_big;
    const std::uint32_t id = next_request_++;
    std::string bytes;
    store::encode_to(bytes, op, id, transaction, payload);
    if (!link_->send(bytes))
        throw Error{ExitCode::not_control, fmt::format("XenStore: {}", errno_text(errno))};
    return reply_to(id, op);
}

std::optional<std::string> StoreClient::read(std::string_view path, std::uint32_t transaction) {
    auto reply = request(store::Op::read, path_payload(path), transaction);
    if (!reply)
        return std::nullopt;
    return *std::move(reply);
}

std::optional<std::vector<std::string>> StoreClient::list(std::string_view path,
                                                          std::uint32_t transaction) {
    auto reply = request(store::Op::directory, path_payload(path), transaction);
    std::vector<std::string> names;
    if (reply) {
        const auto strings = store::strings_of(*reply);
        if (!strings)
            return std::nullopt;
        names.assign(strings->begin(), strings->end());
        return names;
    }
    if (reply.error() != Errno::too_big)
        return std::nullopt;
    if (transaction != 0)
        return list_in_parts(path, transaction);
    // Too long for one message. In a transaction it stands still, whoever writes there meanwhile.
    const auto started = request(store::Op::transaction_start, std::string_view{"\0", 1});
    if (!started)
        return list_in_parts(path, 0);
    const auto own = static_cast<std::uint32_t>(std::stoul(*started));
    auto all = list_in_parts(path, own);
    (void)request(store::Op::transaction_end, std::string_view{"F\0", 2}, own);
    return all;
}

std::optional<std::vector<std::string>> StoreClient::list_in_parts(std::string_view path,
                                                                   std::uint32_t transaction) {
    constexpr int passes_max = 10;
    for (int pass = 0; pass < passes_max; ++pass) {
        std::vector<std::string> names;
        std::string generation; // again from the start if it changes
        for (std::size_t offset = 0;;) {
            const auto part =
                request(store::Op::directory_part,
                        path_payload(path) + path_payload(std::to_string(offset)), transaction);
            if (!part && offset == 0)
                return std::nullopt;
            if (!part)
                break; // the list has become shorter
            std::string_view rest = *part;
            const std::string_view now = rest.substr(0, rest.find('\0'));
            rest.remove_prefix(now.size() + 1);
            if (offset != 0 && now != generation)
                break;
            generation = now;
            while (!rest.empty()) {
                const std::string_view name = rest.substr(0, rest.find('\0'));
                if (name.empty())
                    return names;
                names.emplace_back(name);
                offset += name.size() + 1;
                rest.remove_prefix(name.size() + 1);
            }
        }
    }
    throw Error{
        ExitCode::failed,
        fmt::format("XenStore {}: what is below it changes faster than it can be listed", path),
        "\"cero pause\" the domain that writes there, and try again."};
}

void StoreClient::write(std::string_view path, std::string_view value, std::uint32_t transaction) {
    if (const auto reply = request(store::Op::write, write_payload(path, value), transaction);
        !reply)
        fail_request(path, reply.error());
}

void StoreClient::remove(std::string_view path, std::uint32_t transaction) {
    const auto reply = request(store::Op::rm, path_payload(path), transaction);
    if (!reply && reply.error() != Errno::noent)
        fail_request(path, reply.error());
}

void StoreClient::set_permissions(std::string_view path,
                                  const std::vector<std::string>& permissions,
                                  std::uint32_t transaction) {
    const auto reply =
        request(store::Op::set_perms, permissions_payload(path, permissions), transaction);
    if (!reply)
        fail_request(path, reply.error());
}

void StoreClient::send_all(const std::vector<std::pair<store::Op, std::string>>& requests,
                           std::uint32_t transaction) {
    // In portions: neither side may block on a full socket while the other one does, too.
    constexpr std::size_t portion_max = 64;
    for (std::size_t done = 0; done < requests.size();) {
        const std::size_t end = std::min(requests.size(), done + portion_max);
        std::string bytes;
        const std::uint32_t first = next_request_;
        for (std::size_t i = done; i < end; ++i)
            store::encode_to(bytes, requests[i].first, next_request_++, transaction,
                             requests[i].second);
        if (!link_->send(bytes))
            throw Error{ExitCode::not_control, fmt::format("XenStore: {}", errno_text(errno))};
        Errno worst = Errno::ok;
        std::size_t where = 0;
        for (std::size_t i = done; i < end; ++i) {
            const auto reply =
                reply_to(first + static_cast<std::uint32_t>(i - done), requests[i].first);
            if (!reply && worst == Errno::ok) {
                worst = reply.error();
                where = i;
            }
        }
        if (worst != Errno::ok)
            fail_request(requests[where].second, worst);
        done = end;
    }
}

void StoreClient::transact(const std::function<void(std::uint32_t transaction)>& body) {
    constexpr int attempts = 100;
    for (int attempt = 0; attempt < attempts; ++attempt) {
        const auto started = request(store::Op::transaction_start, std::string_view{"\0", 1});
        if (!started)
            fail_request("(transaction)", started.error());
        const auto id = static_cast<std::uint32_t>(std::stoul(*started));
        try {
            body(id);
        } catch (...) {
            (void)request(store::Op::transaction_end, std::string_view{"F\0", 2}, id);
            throw;
        }
        const auto ended = request(store::Op::transaction_end, std::string_view{"T\0", 2}, id);
        if (ended)
            return;
        if (ended.error() != Errno::again)
            fail_request("(transaction)", ended.error());
    }
    fail("XenStore: {} transactions in a row met changes by others", attempts);
}

void StoreClient::watch(std::string_view path, std::string_view token) {
    if (const auto reply = request(store::Op::watch, path_payload(path) + path_payload(token));
        !reply)
        fail_request(path, reply.error());
}

void StoreClient::unwatch(std::string_view path, std::string_view token) {
    (void)request(store::Op::unwatch, path_payload(path) + path_payload(token));
}

std::optional<WatchEvent> StoreClient::pending() {
    if (events_.empty())
        return std::nullopt;
    WatchEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
}

std::optional<WatchEvent> StoreClient::wait(int timeout_ms) {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(std::max(timeout_ms, 0)) * 1'000'000;
    for (;;) {
        if (auto event = pending())
            return event;
        int left = -1;
        if (timeout_ms >= 0) {
            const std::uint64_t now = monotonic_ns();
            left = now >= deadline ? 0 : static_cast<int>((deadline - now + 999'999) / 1'000'000);
        }
        if (!receive_more(left) && left >= 0 && monotonic_ns() >= deadline)
            return pending();
    }
}

} // namespace cero::control
