// SPDX-License-Identifier: BSD-2-Clause
// /dev/xen/xenbus: XenStore for programs. Each open file speaks the wire protocol and has
// transactions and watches of its own, which end with it. /dev/xen/xenbus_backend: the store
// daemon's side of dom0's own ring.
#include "../xenbus/store.hpp"
#include "../xenbus/wire.hpp"
#include "ioctl.hpp"

#include <cero/lib/intrusive_list.hpp>
#include <kernel/boot.hpp>
#include <kernel/device.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log_limiter.hpp>
#include <kernel/mapping.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>
#include <new>

namespace drivers::user {

namespace {

using kernel::Errno;
using kernel::File;
using kernel::Result;
using kernel::Status;
using xenbus::Exchange;
using xenbus::Transaction;

constexpr unsigned max_transactions = 64;
constexpr std::size_t max_queued_bytes = 1 << 20;

/// Bytes waiting to be read by the program. Followed by its data.
struct Chunk {
    cero::ListLink link{};
    std::size_t size{};
    std::size_t taken{};
    char data[1]{};
};

class XenbusFile;

struct FileWatch {
    xenbus::Watch watch{};
    XenbusFile* file{};
    cero::ListLink link{};
    char* path{};
    char* token{};
    bool announced{}; ///< the answer to the WATCH request is queued: events may follow it
};

/// A request that the program sent and whose answer is still to come.
struct FileExchange {
    Exchange exchange{};
    XenbusFile* file{};
    cero_xenstore_message header{};
};

/// One open file. Counted: by the File and by each request in flight.
class XenbusFile {
public:
    void get() noexcept { users_.fetch_add(1, cero::Order::relaxed); }
    void put() noexcept {
        if (users_.fetch_sub(1, cero::Order::acq_rel) != 1)
            return;
        while (Chunk* chunk = chunks_.pop_front())
            kernel::kfree(chunk);
        delete this;
    }
    /// The program closed it: watches and transactions end.
    void close() noexcept {
        while (FileWatch* watch = watches_.front())
            remove_watch(*watch);
        for (Transaction& transaction : transactions_)
            if (transaction != xenbus::no_transaction)
                static_cast<void>(xenbus::end_transaction(transaction, false));
        put();
    }

    /// Queues one message for the program. Reader or watch thread.
    void reply(std::uint32_t type, std::uint32_t request, std::uint32_t transaction,
               const char* first, std::size_t first_size, const char* second = "",
               std::size_t second_size = 0) noexcept {
        const cero_xenstore_message header{type, request, transaction,
                                           static_cast<std::uint32_t>(first_size + second_size)};
        const std::size_t size = sizeof header + first_size + second_size;
        auto* chunk = static_cast<Chunk*>(kernel::kmalloc(sizeof(Chunk) + size));
        bool queued = false;
        if (chunk != nullptr) {
            chunk = ::new (chunk) Chunk;
            chunk->size = size;
            std::memcpy(chunk->data, &header, sizeof header);
            std::memcpy(chunk->data + sizeof header, first, first_size);
            std::memcpy(chunk->data + sizeof header + first_size, second, second_size);
            kernel::SpinGuard guard{lock_};
            if (queued_bytes_ + size <= max_queued_bytes) {
                queued_bytes_ += size;
                chunks_.push_back(*chunk);
                queued = true;
            }
        }
        if (!queued) {
            kernel::kfree(chunk);
            kernel::printk_limited(lines_, kernel::Level::warning,
                                   "xenbus: a program does not read its messages\n");
            return;
        }
        queue.notify(kernel::poll_event::readable);
    }

    Result<std::size_t> read(kernel::IoBuffer& buffer, bool nonblocking) noexcept {
        kernel::MutexGuard guard{read_mutex_};
        while (!readable()) {
            if (nonblocking)
                return Errno::again;
            TRY(queue.waiters.wait_interruptible([this] { return readable(); }));
        }
        std::size_t done = 0;
        while (buffer.remaining() != 0) {
            Chunk* chunk = chunks_.front();
            if (chunk == nullptr)
                break;
            const auto put = buffer.put(chunk->data + chunk->taken, chunk->size - chunk->taken);
            if (!put) {
                if (done == 0)
                    return put.error();
                break;
            }
            done += *put;
            chunk->taken += *put;
            if (chunk->taken == chunk->size) {
                kernel::SpinGuard lists{lock_};
                chunks_.remove(*chunk);
                queued_bytes_ -= chunk->size;
                kernel::kfree(chunk);
            }
        }
        return done;
    }

    Result<std::size_t> write(kernel::IoBuffer& buffer) noexcept {
        kernel::MutexGuard guard{write_mutex_};
        using Need = xenbus::MessageAssembler::Need;
        const std::size_t total = buffer.remaining();
        while (true) {
            if (message_.need() == Need::nothing) {
                const Status handled = handle();
                message_.restart();
                if (!handled)
                    return handled.error();
            }
            if (message_.need() == Need::broken) {
                message_.restart();
                return Errno::inval;
            }
            const auto window = message_.window();
            if (buffer.remaining() == 0)
                return total;
            message_.advance(TRY(buffer.get(window.data(), window.size())));
        }
    }

    [[nodiscard]] bool readable() noexcept { return !chunks_.empty(); }
    kernel::PollQueue queue;

private:
    ~XenbusFile() = default;

    /// Acts on the complete message in message_.
    Status handle() noexcept {
        const cero_xenstore_message& header = message_.header();
        switch (header.type) {
        case CERO_XS_WATCH:
            return watch();
        case CERO_XS_UNWATCH:
            return unwatch();
        case CERO_XS_TRANSACTION_END:
            forget_transaction(header.tx_id);
            break;
        case CERO_XS_TRANSACTION_START:
            if (free_transaction() == nullptr) {
                reply_error(header, Errno::nospc);
                return {};
            }
            break;
        case CERO_XS_RESET_WATCHES: // it would take the kernel's own watches away
            reply_error(header, Errno::nosys);
            return {};
        default:
            break;
        }
        return forward();
    }

    Status forward() noexcept {
        auto* request = new (std::nothrow) FileExchange;
        if (request == nullptr)
            return Errno::nomem;
        const cero_xenstore_message header = message_.header();
        request->file = this;
        request->header = header;
        request->exchange.context = request;
        request->exchange.complete = answered;
        get();
        const std::span<const char> pieces[] = {{message_.payload(), header.len}};
        const Status sent = xenbus::send(request->exchange, header.type, header.tx_id, pieces);
        if (!sent) {
            delete request;
            put();
        }
        return sent;
    }

    static void answered(Exchange& exchange, const cero_xenstore_message& header, char* payload) {
        auto* request = static_cast<FileExchange*>(exchange.context);
        XenbusFile& file = *request->file;
        if (header.type == CERO_XS_TRANSACTION_START) {
            std::uint32_t id = 0;
            for (const char* digit = payload; *digit >= '0' && *digit <= '9'; ++digit)
                id = id * 10 + static_cast<std::uint32_t>(*digit - '0');
            if (Transaction* slot = file.free_transaction(); slot != nullptr)
                *slot = id;
        }
        file.reply(header.type, request->header.req_id, request->header.tx_id, payload, header.len);
        delete request;
        file.put();
    }

    /// The two strings of a WATCH or UNWATCH payload.
    bool path_and_token(const char*& path, const char*& token) noexcept {
        path = message_.payload();
        const std::size_t size = message_.header().len;
        const std::size_t path_size = strlen(path) + 1;
        if (path_size >= size)
            return false;
        token = path + path_size;
        return path_size + strlen(token) + 1 <= size;
    }

    FileWatch* find_watch(const char* path, const char* token) noexcept {
        for (FileWatch& watch : watches_)
            if (std::strcmp(watch.path, path) == 0 && std::strcmp(watch.token, token) == 0)
                return &watch;
        return nullptr;
    }

    Status watch() noexcept {
        const cero_xenstore_message header = message_.header();
        const char* path;
        const char* token;
        if (!path_and_token(path, token)) {
            reply_error(header, Errno::inval);
            return {};
        }
        if (find_watch(path, token) != nullptr) {
            reply_error(header, Errno::exist);
            return {};
        }
        auto* watch = new (std::nothrow) FileWatch;
        if (watch == nullptr)
            return Errno::nomem;
        watch->file = this;
        watch->path = duplicate(path);
        watch->token = duplicate(token);
        watch->watch.path = watch->path;
        watch->watch.context = watch;
        watch->watch.fired = fired;
        Status added = Errno::nomem;
        if (watch->path != nullptr && watch->token != nullptr) {
            // The first event may come before the answer below is queued: hold it back by this
            // flag.
            watches_.push_back(*watch);
            added = xenbus::add_watch(watch->watch);
        }
        if (!added) {
            watches_.remove(*watch);
            destroy(*watch);
            reply_error(header, added.error());
            return {};
        }
        reply(CERO_XS_WATCH, header.req_id, header.tx_id, "OK", 3);
        watch->announced = true;
        announced_.wake_all();
        return {};
    }

    Status unwatch() noexcept {
        const cero_xenstore_message header = message_.header();
        const char* path;
        const char* token;
        if (!path_and_token(path, token)) {
            reply_error(header, Errno::inval);
            return {};
        }
        FileWatch* watch = find_watch(path, token);
        if (watch == nullptr) {
            reply_error(header, Errno::noent);
            return {};
        }
        remove_watch(*watch);
        reply(CERO_XS_UNWATCH, header.req_id, header.tx_id, "OK", 3);
        return {};
    }

    static void fired(xenbus::Watch& watch, const char* path) {
        const auto& own = *static_cast<FileWatch*>(watch.context);
        own.file->announced_.wait([&] { return own.announced; });
        // The payload is path NUL token NUL; the path's NUL is that of the string.
        own.file->reply(CERO_XS_WATCH_EVENT, 0, 0, path, strlen(path) + 1, own.token,
                        strlen(own.token) + 1);
    }

    void remove_watch(FileWatch& watch) noexcept {
        xenbus::remove_watch(watch.watch);
        watches_.remove(watch);
        destroy(watch);
    }
    static void destroy(FileWatch& watch) noexcept {
        kernel::kfree(watch.path);
        kernel::kfree(watch.token);
        delete &watch;
    }
    static char* duplicate(const char* text) noexcept {
        const std::size_t size = strlen(text) + 1;
        auto* copy = static_cast<char*>(kernel::kmalloc(size));
        if (copy != nullptr)
            std::memcpy(copy, text, size);
        return copy;
    }
    void reply_error(const cero_xenstore_message& header, Errno error) noexcept {
        const char* name = xenbus::error_name(error);
        reply(CERO_XS_ERROR, header.req_id, header.tx_id, name, strlen(name) + 1);
    }
    Transaction* free_transaction() noexcept {
        for (Transaction& slot : transactions_)
            if (slot == xenbus::no_transaction)
                return &slot;
        return nullptr;
    }
    void forget_transaction(Transaction transaction) noexcept {
        for (Transaction& slot : transactions_)
            if (slot == transaction)
                slot = xenbus::no_transaction;
    }

    cero::Atomic<unsigned> users_{1};
    kernel::WaitQueue announced_;
    kernel::Mutex read_mutex_;
    kernel::Mutex write_mutex_;
    kernel::Spinlock lock_; ///< chunks
    cero::IntrusiveList<Chunk, &Chunk::link> chunks_;
    std::size_t queued_bytes_{};
    kernel::LogLimiter lines_; ///< guests decide how often watches fire
    cero::IntrusiveList<FileWatch, &FileWatch::link> watches_;
    Transaction transactions_[max_transactions]{};
    xenbus::MessageAssembler message_;
};

class XenbusOps final : public kernel::FileOps {
public:
    Status open(File& file) noexcept override {
        if (!xenbus::has_store())
            return Errno::nodev;
        auto* state = new (std::nothrow) XenbusFile;
        if (state == nullptr)
            return Errno::nomem;
        file.data = state;
        return {};
    }
    void release(File& file) noexcept override { of(file).close(); }
    Result<std::size_t> read(File& file, kernel::IoBuffer& buffer,
                             std::uint64_t) noexcept override {
        return of(file).read(buffer, file.is_nonblocking());
    }
    Result<std::size_t> write(File& file, kernel::IoBuffer& buffer,
                              std::uint64_t) noexcept override {
        return of(file).write(buffer);
    }
    std::uint32_t poll(File& file, kernel::PollTable* table) noexcept override {
        if (table != nullptr)
            table->watch(of(file).queue);
        return kernel::poll_event::writable |
               (of(file).readable() ? kernel::poll_event::readable : 0);
    }

private:
    static XenbusFile& of(File& file) noexcept { return *static_cast<XenbusFile*>(file.data); }
};
constinit XenbusOps xenbus_ops;

/// Maps the store's ring page.
class StorePage final : public kernel::Mappable {
public:
    Result<kernel::Page*> get_page(std::uint64_t, bool) override { return Errno::nxio; }
    void map_get() override { ++users_; }
    void map_put() override {
        if (--users_ == 0)
            xenbus::local_store_gone();
    }
    Status mapped(kernel::Vma& area) override {
        area.device = true;
        area.dont_copy = true;
        if (area.pages() != 1 || area.page_index != 0)
            return Errno::inval;
        return kernel::map_user_page(area, area.start,
                                     *kernel::page_of(xenbus::local_store().page));
    }

private:
    unsigned users_{};
};
constinit StorePage store_page;

class BackendOps final : public kernel::FileOps {
public:
    Result<std::int64_t> ioctl(File&, std::uint32_t command, std::uint64_t) noexcept override {
        if (command == xenbus_backend_evtchn)
            return std::int64_t{xenbus::local_store().port};
        return Errno::notty;
    }
    Result<kernel::Mappable*> mappable(File&) noexcept override { return &store_page; }
};
constinit BackendOps backend_ops;

void start_xenbus_devices() {
    kernel::register_misc_device("xen/xenbus", xenbus_ops);
    if (kernel::is_initial_domain())
        kernel::register_misc_device("xen/xenbus_backend", backend_ops);
}
CERO_INITCALL(device, start_xenbus_devices);

} // namespace

} // namespace drivers::user
