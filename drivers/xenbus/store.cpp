// SPDX-License-Identifier: BSD-2-Clause
// XenStore client: one connection, many requests in flight, one reader thread and one watch thread.
#include "event_queue.hpp"
#include "wire.hpp"

#include <cero/lib/format.hpp>
#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>

#include <cstring>
#include <new>

namespace drivers::xenbus {

namespace {

/// The one connection. Locks: send (mutex: one message at a time into the ring), lists (spin).
struct Connection {
    kernel::Mutex send;
    kernel::Spinlock lists;
    kernel::WaitQueue ring_moved; ///< reader and blocked senders
    kernel::WaitQueue fired;
    kernel::WaitQueue callback_done;
    cero::IntrusiveList<Exchange, &Exchange::link> pending;
    cero::IntrusiveList<Watch, &Watch::link> watches;
    EventQueue events;
    Watch* running{}; ///< whose callback runs
    kernel::Thread* watch_thread{};
    ByteRing requests;
    ByteRing replies;
    MessageAssembler message;
    kernel::event::Port port{};
    std::uint32_t next_id{1};
    LocalStore local;
    bool usable{};
    bool broken{};
};
constinit Connection store;

void ring_event(kernel::event::Port, void*) {
    store.ring_moved.wake_all();
}

/// Puts all bytes into the request ring. The send mutex is held.
Status push(std::span<const char> bytes) {
    while (!bytes.empty()) {
        const std::size_t count = store.requests.write(bytes.data(), bytes.size());
        bytes = bytes.subspan(count);
        if (bytes.empty())
            break;
        kernel::event::notify(store.port);
        store.ring_moved.wait([] { return store.requests.writable() != 0 || store.broken; });
        if (store.broken)
            return Errno::io;
    }
    return {};
}

/// Removes and returns the exchange with this id.
Exchange* take_pending(std::uint32_t id) {
    kernel::SpinGuard guard{store.lists};
    for (Exchange& exchange : store.pending)
        if (exchange.id == id) {
            store.pending.remove(exchange);
            return &exchange;
        }
    return nullptr;
}

/// Allocated with its path behind it; null when memory is out.
FiredEvent* make_event(const char* path, std::size_t size) {
    void* block = kernel::kmalloc(sizeof(FiredEvent) + size);
    if (block == nullptr)
        return nullptr;
    char* copy = static_cast<char*>(block) + sizeof(FiredEvent);
    std::memcpy(copy, path, size);
    auto* event = ::new (block) FiredEvent;
    event->path = copy;
    return event;
}

/// Queues the watch event of a message.
void queue_event(const char* payload, std::size_t size) {
    const std::size_t path_size = strlen(payload) + 1;
    if (path_size >= size)
        return;
    std::uint32_t id = 0;
    for (const char* digit = payload + path_size; *digit >= '0' && *digit <= '9'; ++digit)
        id = id * 10 + static_cast<std::uint32_t>(*digit - '0');
    FiredEvent* event = make_event(payload, path_size);
    {
        kernel::SpinGuard guard{store.lists};
        for (Watch& watch : store.watches)
            if (watch.id == id) {
                event = store.events.add(watch, event);
                break;
            }
    }
    if (event != nullptr) // not needed
        kernel::kfree(event);
    store.fired.wake_one();
}

void dispatch_message() {
    const cero_xenstore_message& header = store.message.header();
    char* payload = store.message.payload();
    if (header.type == CERO_XS_WATCH_EVENT) {
        queue_event(payload, header.len);
    } else if (Exchange* exchange = take_pending(header.req_id); exchange != nullptr) {
        exchange->complete(*exchange, header, payload);
    } else {
        kernel::printk(kernel::Level::warning, "xenbus: reply to unknown request %u\n",
                       header.req_id);
    }
    store.message.restart();
}

/// Ends every exchange with an I/O error, for ever.
void give_up(const char* why) {
    kernel::printk(kernel::Level::error, "xenbus: no store any more: %s\n", why);
    store.broken = true;
    store.ring_moved.wake_all();
    for (;;) {
        Exchange* exchange;
        {
            kernel::SpinGuard guard{store.lists};
            exchange = store.pending.pop_front();
        }
        if (exchange == nullptr)
            return;
        char name[] = "EIO";
        const cero_xenstore_message header{CERO_XS_ERROR, exchange->id, 0, sizeof name};
        exchange->complete(*exchange, header, name);
    }
}

void reader(void*) {
    for (;;) {
        store.ring_moved.wait(
            [] { return store.replies.readable() != 0 || !store.replies.is_sane(); });
        if (!store.replies.is_sane())
            return give_up("impossible index");
        const bool was_full = store.replies.writable() == 0;
        for (;;) {
            const std::span<char> window = store.message.window();
            if (window.empty())
                break;
            const std::size_t count = store.replies.read(window.data(), window.size());
            if (count == 0)
                break;
            store.message.advance(count);
        }
        if (was_full)
            kernel::event::notify(store.port);
        if (store.message.need() == MessageAssembler::Need::broken)
            return give_up("message too long");
        if (store.message.need() == MessageAssembler::Need::nothing)
            dispatch_message();
    }
}

void watcher(void*) {
    store.watch_thread = kernel::current();
    for (;;) {
        store.fired.wait([] { return !store.events.empty(); });
        FiredEvent* event;
        {
            kernel::SpinGuard guard{store.lists};
            event = store.events.take();
            if (event != nullptr)
                store.running = event->watch;
        }
        if (event == nullptr)
            continue;
        const bool is_allocated = EventQueue::is_allocated(*event);
        event->watch->fired(*event->watch, event->path);
        store.running = nullptr; // an event that is the watch's own may be gone from here on
        store.callback_done.wake_all();
        if (is_allocated)
            kernel::kfree(event);
    }
}

/// A synchronous exchange: copies the reply and wakes the caller.
struct Call {
    Exchange exchange;
    kernel::WaitQueue done_queue;
    std::uint32_t type{};
    Errno error{Errno::ok};
    char* text{};
    std::size_t size{};
    bool done{};
};

void call_complete(Exchange& exchange, const cero_xenstore_message& header, char* payload) {
    auto& call = *static_cast<Call*>(exchange.context);
    if (header.type == CERO_XS_ERROR) {
        call.error = error_from_name(payload);
    } else if (header.type != call.type) {
        call.error = Errno::inval;
    } else {
        call.text = static_cast<char*>(kernel::kmalloc(header.len + 1));
        call.size = header.len;
        if (call.text == nullptr)
            call.error = Errno::nomem;
        else
            std::memcpy(call.text, payload, header.len + 1);
    }
    call.done = true;
    call.done_queue.wake_all();
}

Result<Value> request(std::uint32_t type, Transaction transaction,
                      std::span<const std::span<const char>> pieces) {
    Call call;
    call.type = type;
    call.exchange.complete = call_complete;
    call.exchange.context = &call;
    TRY(send(call.exchange, type, transaction, pieces));
    call.done_queue.wait([&] { return call.done; });
    if (call.error != Errno::ok)
        return call.error;
    return Value{call.text, call.size};
}

/// Text with its terminating NUL.
std::span<const char> with_nul(const char* text) {
    return {text, strlen(text) + 1};
}

Result<Value> request_path(std::uint32_t type, Transaction transaction, const char* path) {
    const std::span<const char> pieces[] = {with_nul(path)};
    return request(type, transaction, pieces);
}

Status request_watch(std::uint32_t type, const Watch& watch) {
    char token[12];
    cero::format_to(token, sizeof token, "%u", watch.id);
    const std::span<const char> pieces[] = {with_nul(watch.path), with_nul(token)};
    TRY(request(type, no_transaction, pieces));
    return {};
}

/// Connects to the ring: the one that dom0's tools left, or in dom0 one of our own making.
void start_store() {
    cero_xenstore_page* page;
    if (kernel::is_initial_domain()) {
        page = static_cast<cero_xenstore_page*>(kernel::alloc_zeroed_page());
        auto port = kernel::event::alloc_unbound(CERO_DOMID_SELF);
        if (page == nullptr || !port)
            kernel::panic("xenbus: no page or port for the store");
        store.port = *port;
        store.local = {page, *port};
    } else {
        const kernel::BootRing boot = kernel::boot_store_ring();
        if (boot.port == 0) {
            kernel::printk(kernel::Level::info, "xenbus: this domain has no store\n");
            return;
        }
        page = static_cast<cero_xenstore_page*>(kernel::boot_ring_page(boot));
        store.port = boot.port;
    }
    store.requests = ByteRing{page->req, page->req_cons, page->req_prod};
    store.replies = ByteRing{page->rsp, page->rsp_cons, page->rsp_prod};
    store.usable = true;
    kernel::event::set_handler(store.port, ring_event, nullptr);
    if (!kernel::spawn_kernel_thread("xenstore", reader, nullptr) ||
        !kernel::spawn_kernel_thread("xenwatch", watcher, nullptr))
        kernel::panic("xenbus: no memory for threads");
}
CERO_INITCALL(subsys, start_store);

} // namespace

Value::Value(Value&& other) noexcept : text_{other.text_}, size_{other.size_} {
    other.text_ = nullptr;
    other.size_ = 0;
}

Value& Value::operator=(Value&& other) noexcept {
    if (this != &other) {
        kernel::kfree(text_);
        text_ = other.text_;
        size_ = other.size_;
        other.text_ = nullptr;
        other.size_ = 0;
    }
    return *this;
}

Value::~Value() {
    if (text_ != nullptr)
        kernel::kfree(text_);
}

bool Value::equals(const char* text) const noexcept {
    return std::strcmp(c_str(), text) == 0;
}

Result<std::uint64_t> Value::number() const noexcept {
    std::uint64_t sum = 0;
    if (size_ == 0 || size_ > 19)
        return Errno::inval;
    for (std::size_t i = 0; i < size_; ++i) {
        if (text_[i] < '0' || text_[i] > '9')
            return Errno::inval;
        sum = sum * 10 + static_cast<std::uint64_t>(text_[i] - '0');
    }
    return sum;
}

const char* Value::next(const char* item) const noexcept {
    const char* at = item == nullptr ? text_ : item + strlen(item) + 1;
    return at != nullptr && at < text_ + size_ ? at : nullptr;
}

NodePath::NodePath(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    cero::vformat_to(text_, sizeof text_, format, args);
    va_end(args);
}

Status send(Exchange& exchange, std::uint32_t type, Transaction transaction,
            std::span<const std::span<const char>> pieces) {
    if (!store.usable)
        return Errno::nodev;
    std::size_t length = 0;
    for (const auto piece : pieces)
        length += piece.size();
    if (length > CERO_XENSTORE_PAYLOAD_MAX)
        return Errno::too_big;
    kernel::MutexGuard guard{store.send};
    if (store.broken)
        return Errno::io;
    cero_xenstore_message header{type, 0, transaction, static_cast<std::uint32_t>(length)};
    {
        kernel::SpinGuard lists{store.lists};
        header.req_id = exchange.id = store.next_id++;
        store.pending.push_back(exchange);
    }
    Status sent = push({reinterpret_cast<const char*>(&header), sizeof header});
    for (const auto piece : pieces)
        if (sent)
            sent = push(piece);
    // A broken ring has completed the exchange already: its owner hears of the failure there.
    kernel::event::notify(store.port);
    return {};
}

Result<Value> read(const char* path, Transaction transaction) {
    return request_path(CERO_XS_READ, transaction, path);
}

Result<std::uint64_t> read_number(const char* path, Transaction transaction) {
    const Value value = TRY(read(path, transaction));
    return value.number();
}

Result<Value> directory(const char* path, Transaction transaction) {
    return request_path(CERO_XS_DIRECTORY, transaction, path);
}

bool exists(const char* path) {
    return directory(path).has_value();
}

Status write(const char* path, const char* value, Transaction transaction) {
    const std::span<const char> pieces[] = {with_nul(path), {value, strlen(value)}};
    TRY(request(CERO_XS_WRITE, transaction, pieces));
    return {};
}

Status write_format(const char* path, Transaction transaction, const char* format, ...) {
    char text[128];
    va_list args;
    va_start(args, format);
    cero::vformat_to(text, sizeof text, format, args);
    va_end(args);
    return write(path, text, transaction);
}

Status remove(const char* path, Transaction transaction) {
    TRY(request_path(CERO_XS_RM, transaction, path));
    return {};
}

Result<Transaction> begin_transaction() {
    const std::span<const char> pieces[] = {with_nul("")};
    const Value value = TRY(request(CERO_XS_TRANSACTION_START, no_transaction, pieces));
    std::uint32_t id = 0;
    for (const char* digit = value.c_str(); *digit >= '0' && *digit <= '9'; ++digit)
        id = id * 10 + static_cast<std::uint32_t>(*digit - '0');
    if (id == 0)
        return Errno::inval;
    return Transaction{id};
}

Status end_transaction(Transaction transaction, bool commit) {
    const std::span<const char> pieces[] = {with_nul(commit ? "T" : "F")};
    TRY(request(CERO_XS_TRANSACTION_END, transaction, pieces));
    return {};
}

Status add_watch(Watch& watch) {
    {
        kernel::SpinGuard guard{store.lists};
        watch.id = store.next_id++;
        store.watches.push_back(watch);
    }
    const Status added = request_watch(CERO_XS_WATCH, watch);
    if (!added) {
        kernel::SpinGuard guard{store.lists};
        store.watches.remove(watch);
        return added.error();
    }
    return {};
}

void remove_watch(Watch& watch) {
    if (!watch.link.is_linked())
        return;
    // The node may be gone and the watch with it: nothing to do about a failure.
    static_cast<void>(request_watch(CERO_XS_UNWATCH, watch));
    {
        kernel::SpinGuard guard{store.lists};
        store.watches.remove(watch);
        while (FiredEvent* event = store.events.forget(watch))
            kernel::kfree(event);
    }
    if (kernel::current() != store.watch_thread)
        store.callback_done.wait([&] { return store.running != &watch; });
}

const LocalStore& local_store() noexcept {
    return store.local;
}

void local_store_gone() noexcept {
    kernel::printk(kernel::Level::warning,
                   "xenbus: the store's daemon has ended; requests wait for the next one\n");
}

bool has_store() noexcept {
    return store.usable;
}

} // namespace drivers::xenbus
