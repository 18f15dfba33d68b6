// SPDX-License-Identifier: BSD-2-Clause
// AF_UNIX: stream, datagram and seqpacket sockets with passed descriptors and peer credentials.
#include "../fs/path_walk.hpp"
#include "../fs/vfs_operations.hpp"
#include "socket.hpp"
#include "socket_wait.hpp"
#include <kernel/memory.hpp>
#include <kernel/process_api.hpp>
#include <kernel/thread.hpp>

#include <new>

namespace kernel::net {

namespace {

constexpr std::size_t queue_limit = 212992;

class UnixSocket;

/// A piece of data on its way, with what was passed along. The bytes follow the structure.
struct Parcel {
    cero::ListLink link;
    std::size_t size;
    std::size_t taken; ///< stream: bytes already read
    PassedFiles* files;
    PeerCredentials sender;
    Address from;
    [[nodiscard]] char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};
using ParcelList = cero::IntrusiveList<Parcel, &Parcel::link>;

void destroy(Parcel* parcel) noexcept {
    delete parcel->files;
    parcel->~Parcel();
    kfree(parcel);
}

/// All AF_UNIX state is guarded by the fact that nothing below sleeps while it changes it: user
/// memory is copied before or after. `unix_lock` keeps that true on several CPUs.
Mutex unix_lock;

/// Names in the abstract name space (a NUL first), and the sockets bound to files.
struct Binding {
    Address name;
    UnixSocket* socket;
    Binding* next;
};
Binding* abstract_names{};

class UnixSocket final : public Socket {
public:
    UnixSocket(int kind, int number) noexcept;
    ~UnixSocket() override {
        while (Parcel* parcel = received_.pop_front())
            destroy(parcel);
    }

    Status bind(const Address& address) noexcept override;
    Status connect(const Address& address, bool nonblocking) noexcept override;
    Status listen(int backlog) noexcept override;
    Result<Socket*> accept(bool nonblocking) noexcept override;
    Status shutdown(int how) noexcept override;
    Status local_address(Address& out) noexcept override {
        out = name_;
        if (out.length == 0)
            out.set(std::uint16_t{af_unix});
        return {};
    }
    Status peer_address(Address& out) noexcept override {
        if (peer_ == nullptr && !was_connected_)
            return Errno::notconn;
        if (peer_ != nullptr)
            return peer_->local_address(out);
        out.set(std::uint16_t{af_unix});
        return {};
    }
    Result<std::size_t> send(Message& message) noexcept override;
    Result<std::size_t> receive(Message& message) noexcept override;
    std::uint32_t poll(PollTable* table) noexcept override;
    Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) noexcept override;
    Status peer_credentials(PeerCredentials& out) noexcept override {
        out = peer_owner_;
        return was_connected_ ? Status{} : Status{Errno::notconn};
    }
    bool is_listening() const noexcept override { return listening_; }
    void close() noexcept override;

    static void join(UnixSocket& a, UnixSocket& b) noexcept {
        a.peer_ = &b;
        b.peer_ = &a;
        a.was_connected_ = b.was_connected_ = true;
        a.peer_owner_ = b.owner_;
        b.peer_owner_ = a.owner_;
    }

private:
    static PeerCredentials self() noexcept {
        const Credentials& who = current_credentials();
        return {current_job().pid, who.euid, who.egid};
    }
    [[nodiscard]] bool is_stream() const noexcept { return type != sock_dgram; }
    Result<UnixSocket*> find(const Address& address) noexcept;
    Result<std::size_t> send_parcel(Message& message, const Address* to) noexcept;
    [[nodiscard]] bool has_room() const noexcept {
        return peer_ == nullptr || peer_->queued_ < queue_limit || peer_->read_closed_;
    }
    std::size_t take_data(Parcel& parcel, Message& message, Errno& fault) noexcept;

public:
    cero::ListLink all_link;

private:
    PollQueue queue_;
    ParcelList received_;
    std::size_t queued_{};
    UnixSocket* peer_{};
    Address name_{};
    Ref<Inode> node_; ///< of a name in the file system
    PeerCredentials owner_{};
    PeerCredentials peer_owner_{};
    bool was_connected_{};
    bool read_closed_{};
    bool write_closed_{};
    bool listening_{};
    // listening: connections that wait, linked through next_waiting_ of the server ends
    UnixSocket* waiting_{};
    UnixSocket* next_waiting_{};
    int waiting_count_{};
    int backlog_{};
};

cero::IntrusiveList<UnixSocket, &UnixSocket::all_link> all_sockets;

UnixSocket::UnixSocket(int kind, int number) noexcept : Socket{af_unix, kind, number} {
    owner_ = self();
    all_sockets.push_back(*this);
}

std::string_view path_of(const Address& address) noexcept {
    std::size_t length = address.length > 2 ? address.length - 2 : 0;
    const char* text = address.bytes + 2;
    std::size_t used = 0;
    while (used < length && text[used] != 0)
        ++used;
    return {text, used};
}
bool is_abstract(const Address& address) noexcept {
    return address.length > 2 && address.bytes[2] == 0;
}
bool same_name(const Address& a, const Address& b) noexcept {
    return a.length == b.length && std::memcmp(a.bytes, b.bytes, a.length) == 0;
}

Result<UnixSocket*> UnixSocket::find(const Address& address) noexcept {
    if (address.family() != af_unix || address.length <= 2)
        return Errno::inval;
    if (is_abstract(address)) {
        for (Binding* at = abstract_names; at != nullptr; at = at->next)
            if (same_name(at->name, address))
                return at->socket;
        return Errno::connrefused;
    }
    auto path = TRY(vfs::lookup(path_of(address)));
    TRY(vfs::check_access(*path.inode(), 2));
    if (path.inode()->type() != mode::socket || path.inode()->bound_socket == nullptr)
        return Errno::connrefused;
    return static_cast<UnixSocket*>(path.inode()->bound_socket);
}

Status UnixSocket::bind(const Address& address) noexcept {
    if (address.family() != af_unix || name_.length != 0)
        return Errno::inval;
    Address name = address;
    if (name.length <= 2) { // autobind
        static std::uint32_t next;
        const std::uint32_t number = next++;
        char text[6];
        for (int i = 0; i < 5; ++i)
            text[i + 1] = "0123456789abcdef"[number >> (16 - 4 * i) & 15U];
        text[0] = 0;
        const std::uint16_t family_word = af_unix;
        std::memcpy(name.bytes, &family_word, 2);
        std::memcpy(name.bytes + 2, text, sizeof(text));
        name.length = 8;
    }
    if (is_abstract(name)) {
        MutexGuard guard{unix_lock};
        for (Binding* at = abstract_names; at != nullptr; at = at->next)
            if (same_name(at->name, name))
                return Errno::addrinuse;
        auto* binding = new (std::nothrow) Binding{name, this, abstract_names};
        if (binding == nullptr)
            return Errno::nomem;
        abstract_names = binding;
    } else {
        auto path = TRY(vfs::make_socket_node(path_of(name), 0777));
        node_ = Ref<Inode>::share(path.inode());
        node_->bound_socket = this;
    }
    name_ = name;
    return {};
}

Status UnixSocket::listen(int backlog) noexcept {
    if (!is_stream() || was_connected_)
        return Errno::inval;
    if (name_.length == 0)
        return Errno::inval;
    listening_ = true;
    backlog_ = backlog < 1 ? 1 : (backlog > 128 ? 128 : backlog);
    owner_ = self();
    return {};
}

Status UnixSocket::connect(const Address& address, bool nonblocking) noexcept {
    if (type == sock_dgram && address.family() == af_unspec) {
        MutexGuard guard{unix_lock};
        peer_ = nullptr;
        return {};
    }
    if (is_stream() && was_connected_)
        return Errno::isconn;
    for (;;) {
        UnixSocket* server = nullptr;
        {
            server = TRY(find(address));
            MutexGuard guard{unix_lock};
            if (server->type != type)
                return Errno::prototype;
            if (!is_stream()) {
                peer_ = server;
                was_connected_ = true;
                return {};
            }
            if (!server->listening_)
                return Errno::connrefused;
            if (server->waiting_count_ <= server->backlog_) {
                auto* end = new (std::nothrow) UnixSocket{type, protocol};
                if (end == nullptr)
                    return Errno::nomem;
                owner_ = self();
                end->owner_ = server->owner_;
                end->name_ = server->name_;
                join(*this, *end);
                UnixSocket** link = &server->waiting_;
                while (*link != nullptr)
                    link = &(*link)->next_waiting_;
                *link = end;
                ++server->waiting_count_;
                server->queue_.notify(poll_event::readable);
                return {};
            }
        }
        if (nonblocking)
            return Errno::again;
        // A full backlog: look again soon. The server may be gone by then, so nothing of it is
        // held.
        TRY(sleep_until_interruptible(monotonic_ns() + 5 * ns_per_ms));
    }
}

Result<Socket*> UnixSocket::accept(bool nonblocking) noexcept {
    if (!listening_)
        return Errno::inval;
    for (;;) {
        TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout,
                       [&] { return waiting_ != nullptr || read_closed_; }));
        MutexGuard guard{unix_lock};
        UnixSocket* end = waiting_;
        if (end == nullptr && read_closed_)
            return Errno::inval;
        if (end == nullptr)
            continue;
        waiting_ = end->next_waiting_;
        end->next_waiting_ = nullptr;
        --waiting_count_;
        queue_.notify(0);
        return static_cast<Socket*>(end);
    }
}

Result<std::size_t> UnixSocket::send_parcel(Message& message, const Address* to) noexcept {
    constexpr std::size_t piece = 32768;
    const std::size_t wanted = message.data.remaining();
    const std::size_t size = is_stream() && type == sock_stream && wanted > piece ? piece : wanted;
    if (size > queue_limit)
        return Errno::msgsize;
    void* memory = kmalloc(sizeof(Parcel) + size);
    if (memory == nullptr)
        return Errno::nobufs;
    auto* parcel = new (memory) Parcel{};
    parcel->size = size;
    parcel->sender = self();
    parcel->from = name_;
    if (auto got = message.data.get(parcel->bytes(), size); !got || *got != size) {
        destroy(parcel);
        return Errno::fault;
    }
    if (message.files != nullptr && message.files->count != 0) {
        parcel->files = new (std::nothrow) PassedFiles;
        if (parcel->files == nullptr) {
            destroy(parcel);
            return Errno::nobufs;
        }
        for (std::size_t i = 0; i < message.files->count; ++i)
            parcel->files->files[i] = std::move(message.files->files[i]);
        parcel->files->count = std::exchange(message.files->count, 0);
    }
    UnixSocket* target = peer_;
    if (to != nullptr) {
        auto found = find(*to);
        if (!found || (*found)->type != type) {
            destroy(parcel);
            return found ? Errno::prototype : found.error();
        }
        target = *found;
    }
    MutexGuard guard{unix_lock};
    if (target == nullptr || target->read_closed_ || (to == nullptr && target != peer_)) {
        destroy(parcel);
        return is_stream() ? Errno::pipe : Errno::connrefused;
    }
    target->received_.push_back(*parcel);
    target->queued_ += size + 1;
    target->queue_.notify(poll_event::readable);
    return size;
}

Result<std::size_t> UnixSocket::send(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    if (write_closed_)
        return Errno::pipe;
    if (is_stream() && !was_connected_)
        return Errno::notconn;
    if (!is_stream() && message.address == nullptr && peer_ == nullptr)
        return was_connected_ ? Errno::connrefused : Errno::notconn;
    std::size_t total = 0;
    do {
        if (is_stream() && peer_ == nullptr)
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{Errno::pipe};
        if (message.address == nullptr || is_stream()) {
            auto ready = wait_ready(queue_.waiters, nonblocking, options.send_timeout,
                                    [&] { return has_room(); });
            if (!ready)
                return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{ready.error()};
        }
        auto sent = send_parcel(message, is_stream() ? nullptr : message.address);
        if (!sent)
            return total != 0 ? Result<std::size_t>{total} : std::move(sent);
        total += *sent;
    } while (type == sock_stream && message.data.remaining() != 0);
    return total;
}

/// Copies from a parcel; the count is what a datagram or stream read takes.
std::size_t UnixSocket::take_data(Parcel& parcel, Message& message, Errno& fault) noexcept {
    const std::size_t there = parcel.size - parcel.taken;
    auto put = message.data.put(parcel.bytes() + parcel.taken, there);
    if (!put) {
        fault = put.error();
        return 0;
    }
    return *put;
}

Result<std::size_t> UnixSocket::receive(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    const bool peek = (message.flags & message_flag::peek) != 0;
    if (listening_ || (is_stream() && !was_connected_))
        return listening_ ? Errno::inval : Errno::notconn;
    std::size_t total = 0;
    for (;;) {
        if (total == 0) {
            TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout, [&] {
                return !received_.empty() || read_closed_ || (is_stream() && peer_ == nullptr);
            }));
        } else if ((message.flags & message_flag::waitall) != 0 && received_.empty()) {
            auto more = wait_ready(queue_.waiters, nonblocking, options.receive_timeout, [&] {
                return !received_.empty() || read_closed_ || peer_ == nullptr;
            });
            if (!more)
                return total;
        }
        Parcel* parcel = nullptr;
        {
            MutexGuard guard{unix_lock};
            parcel = received_.front();
            if (parcel == nullptr)
                return total; // end of stream
            if (total != 0 && parcel->files != nullptr)
                return total; // passed files start a read of their own
            if (!peek)
                received_.remove(*parcel);
        }
        Errno fault = Errno::ok;
        const std::size_t count = take_data(*parcel, message, fault);
        if (message.address != nullptr)
            *message.address = parcel->from;
        message.credentials = parcel->sender;
        if (fault != Errno::ok && total == 0) {
            if (!peek) {
                MutexGuard guard{unix_lock};
                received_.push_front(*parcel);
            }
            return fault;
        }
        const std::size_t whole = parcel->size - parcel->taken;
        total += count;
        if (peek)
            return total;
        if (parcel->files != nullptr && message.files != nullptr) {
            for (std::size_t i = 0; i < parcel->files->count; ++i)
                message.files->files[i] = std::move(parcel->files->files[i]);
            message.files->count = parcel->files->count;
        }
        const bool had_files = parcel->files != nullptr;
        delete std::exchange(parcel->files, nullptr);
        UnixSocket* sender = peer_;
        if (type == sock_stream && count < whole) {
            parcel->taken += count;
            MutexGuard guard{unix_lock};
            received_.push_front(*parcel);
            queued_ -= count;
            return total;
        }
        queued_ -= parcel->size - parcel->taken + 1;
        destroy(parcel);
        if (sender != nullptr)
            sender->queue_.notify(poll_event::writable);
        if (type != sock_stream) {
            if (count < whole)
                message.out_flags |= message_flag::trunc;
            return (message.flags & message_flag::trunc) != 0 ? whole : total;
        }
        if (message.data.remaining() == 0 || had_files ||
            (received_.empty() && (message.flags & message_flag::waitall) == 0))
            return total;
    }
}

std::uint32_t UnixSocket::poll(PollTable* table) noexcept {
    if (table != nullptr) {
        table->watch(queue_);
    }
    std::uint32_t events = 0;
    if (listening_)
        return waiting_ != nullptr ? poll_event::readable : 0;
    if (!received_.empty() || read_closed_)
        events |= poll_event::readable;
    if (is_stream() && was_connected_ && peer_ == nullptr)
        events |= poll_event::readable | poll_event::writable | poll_event::hup | poll_event::rdhup;
    else if (is_stream() && !was_connected_)
        events |= poll_event::hup | poll_event::writable;
    else if (has_room())
        events |= poll_event::writable;
    if (read_closed_)
        events |= poll_event::rdhup;
    return events;
}

Result<std::int64_t> UnixSocket::ioctl(std::uint32_t command, std::uint64_t argument) noexcept {
    constexpr std::uint32_t fionread = 0x541b;
    if (command != fionread)
        return Errno::notty;
    int available = 0;
    for (Parcel& parcel : received_) {
        available += static_cast<int>(parcel.size - parcel.taken);
        if (type == sock_dgram)
            break;
    }
    TRY(write_user(argument, available));
    return 0;
}

Status UnixSocket::shutdown(int how) noexcept {
    if (is_stream() && !was_connected_)
        return Errno::notconn;
    const bool reads = how == 0 || how == 2;
    const bool writes = how == 1 || how == 2;
    UnixSocket* peer = peer_;
    if (reads)
        read_closed_ = true;
    if (writes) {
        write_closed_ = true;
        if (is_stream() && peer != nullptr)
            peer->read_closed_ = true;
    }
    queue_.notify(0);
    if (peer != nullptr)
        peer->queue_.notify(0);
    return {};
}

void UnixSocket::close() noexcept {
    UnixSocket* pending = nullptr;
    {
        MutexGuard guard{unix_lock};
        if (node_ && node_->bound_socket == this)
            node_->bound_socket = nullptr;
        for (Binding** link = &abstract_names; *link != nullptr; link = &(*link)->next)
            if ((*link)->socket == this) {
                Binding* gone = *link;
                *link = gone->next;
                delete gone;
                break;
            }
        all_sockets.remove(*this);
        for (UnixSocket& other : all_sockets) {
            if (other.peer_ != this)
                continue;
            other.peer_ = nullptr;
            if (is_stream() && !received_.empty())
                other.error = Errno::connreset;
            other.queue_.notify(poll_event::hup);
        }
        peer_ = nullptr;
        pending = std::exchange(waiting_, nullptr);
    }
    while (pending != nullptr) {
        UnixSocket* next = pending->next_waiting_;
        pending->close();
        pending = next;
    }
    delete this;
}

} // namespace

Result<Socket*> make_unix_socket(int type, int protocol) noexcept {
    if (type != sock_stream && type != sock_dgram && type != sock_seqpacket)
        return Errno::prototype;
    auto* socket = new (std::nothrow) UnixSocket{type, protocol};
    if (socket == nullptr)
        return Errno::nomem;
    return static_cast<Socket*>(socket);
}

Status make_unix_pair(int type, Socket*& a, Socket*& b) noexcept {
    auto first = TRY(make_unix_socket(type, 0));
    auto second = make_unix_socket(type, 0);
    if (!second) {
        first->close();
        return second.error();
    }
    a = first;
    b = *second;
    UnixSocket::join(static_cast<UnixSocket&>(*a), static_cast<UnixSocket&>(*b));
    return {};
}

} // namespace kernel::net
