// SPDX-License-Identifier: BSD-2-Clause
// The XenStore client: typed requests that sleep, transactions, and watches that run on a thread.
//
//   caller ──request──▶ send lock ─▶ req ring ─▶ store        store ─▶ rsp ring ─▶ reader thread
//   caller ◀──reply────────────── matched by req_id ◀──────────────────────────────┤
//   watch thread ◀─ queue of events (bounded per watch) ◀───────────────────────────┘
#pragma once

#include <cero/lib/intrusive_list.hpp>
#include <cero/lib/result.hpp>
#include <kernel/types.hpp>

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <span>

struct cero_xenstore_message;

namespace drivers::xenbus {

using cero::Errno;
using cero::Result;
using cero::Status;

using Transaction = std::uint32_t;
inline constexpr Transaction no_transaction = 0;

/// The payload of a reply: bytes with a NUL behind them. Owns its memory.
class Value {
public:
    Value() noexcept = default;
    /// Takes over a kmalloc block of `size` + 1 bytes.
    Value(char* text, std::size_t size) noexcept : text_{text}, size_{size} {}
    Value(Value&& other) noexcept;
    Value& operator=(Value&& other) noexcept;
    ~Value();
    [[nodiscard]] const char* c_str() const noexcept { return text_ != nullptr ? text_ : ""; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool equals(const char* text) const noexcept;
    /// The whole text as an unsigned decimal number.
    [[nodiscard]] Result<std::uint64_t> number() const noexcept;
    /// For lists of NUL-terminated strings: the one behind `item` (null: the first), or null.
    [[nodiscard]] const char* next(const char* item) const noexcept;

private:
    char* text_{};
    std::size_t size_{};
};

/// A path put together from pieces; too long ones are cut, and then fail at the store.
class NodePath {
public:
    explicit NodePath(const char* format, ...) noexcept __attribute__((format(printf, 2, 3)));
    [[nodiscard]] const char* c_str() const noexcept { return text_; }
    operator const char*() const noexcept { return text_; } // NOLINT(google-explicit-constructor)

private:
    char text_[192];
};

// Requests. Thread context; each sleeps until the store has answered.
[[nodiscard]] Result<Value> read(const char* path, Transaction transaction = no_transaction);
[[nodiscard]] Result<std::uint64_t> read_number(const char* path,
                                                Transaction transaction = no_transaction);
[[nodiscard]] Result<Value> directory(const char* path, Transaction transaction = no_transaction);
[[nodiscard]] bool exists(const char* path);
Status write(const char* path, const char* value, Transaction transaction = no_transaction);
Status write_format(const char* path, Transaction transaction, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
Status remove(const char* path, Transaction transaction = no_transaction);
[[nodiscard]] Result<Transaction> begin_transaction();
Status end_transaction(Transaction transaction, bool commit);

/// Runs body(transaction) -> Status and commits; all over again when the store says EAGAIN.
template <typename Body>
Status transact(Body body) {
    for (;;) {
        const Transaction transaction = TRY(begin_transaction());
        const Status done = body(transaction);
        const Status ended = end_transaction(transaction, done.has_value());
        if (!done)
            return done.error();
        if (ended)
            return {};
        if (ended.error() != Errno::again)
            return ended.error();
    }
}

struct Watch;

/// A change that the watch thread has yet to report.
struct FiredEvent {
    cero::ListLink link{};
    Watch* watch{};
    const char* path{};
};

/// Interest in a node and everything below. The owner keeps it alive until remove_watch() returns.
/// When many changes wait to be reported, one call with the watched path itself stands for them.
struct Watch {
    const char* path{}; ///< must outlive the registration
    /// `fired` does not look at its path, so one waiting event is enough. For nodes below which
    /// somebody hostile writes.
    bool any_path{};
    /// Watch thread; may make requests. `path` is what changed, named in the way the watch was.
    void (*fired)(Watch& watch, const char* path){};
    void* context{};
    cero::ListLink link{};
    std::uint32_t id{};
    FiredEvent whole{};       ///< EventQueue's: something changed, no matter what
    unsigned waiting_paths{}; ///< EventQueue's: other events of this watch
};
Status add_watch(Watch& watch);
/// Afterwards `fired` does not run any more. May be called from within `fired`.
void remove_watch(Watch& watch);

/// A request whose reply is taken by a callback: for programs that use /dev/xen/xenbus.
struct Exchange {
    /// Reader thread. Owner of the object again from here. `payload` is NUL-terminated.
    void (*complete)(Exchange& exchange, const cero_xenstore_message& header, char* payload){};
    void* context{};
    cero::ListLink link{};
    std::uint32_t id{};
};
/// Sends a request made of pieces. Sleeps while the ring is full; Errno::io when the store is
/// broken.
Status send(Exchange& exchange, std::uint32_t type, Transaction transaction,
            std::span<const std::span<const char>> pieces);

/// dom0: the page and the unbound port that the store's daemon connects to. Null elsewhere.
struct LocalStore {
    void* page{};
    std::uint32_t port{};
};
[[nodiscard]] const LocalStore& local_store() noexcept;
/// dom0: the daemon has let go of the page (it died). The next one goes on where it stopped.
void local_store_gone() noexcept;
/// Whether there is a store to talk to at all (a domU built without one has none).
[[nodiscard]] bool has_store() noexcept;

} // namespace drivers::xenbus
