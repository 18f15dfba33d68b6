// SPDX-License-Identifier: BSD-2-Clause
// Pipe: a ring of bytes with reader and writer counts. Writes up to PIPE_BUF are not interleaved.
#include "pipe.hpp"
#include "page_cache.hpp"
#include <kernel/memory.hpp>
#include <kernel/process_api.hpp>

#include <cstring>
#include <new>

namespace kernel::pipe {

namespace {

constexpr int sigpipe = 13;
constexpr std::size_t atomic_size = 4096;
constexpr unsigned best_order = 4; // 64 KiB; less when memory is in pieces

/// Shared by all ends. `lock` guards the ring; the counts change with the ends.
struct Pipe {
    Mutex lock;
    PollQueue queue;
    char* data{};
    unsigned order{best_order};
    std::size_t capacity{};
    std::size_t head{}; ///< next byte to read
    std::size_t used{};
    unsigned readers{};
    unsigned writers{};
    std::uint32_t
        reader_opens{}; ///< ever; lets a blocked FIFO open see a partner that came and went
    std::uint32_t writer_opens{};

    ~Pipe() {
        if (data != nullptr)
            free_pages(data, order);
    }
};

Pipe* make_pipe() noexcept {
    auto* pipe = new (std::nothrow) Pipe;
    if (pipe == nullptr)
        return nullptr;
    pipe->data = static_cast<char*>(alloc_buffer(pipe->order));
    pipe->capacity = page_size << pipe->order;
    if (pipe->data == nullptr) {
        delete pipe;
        return nullptr;
    }
    return pipe;
}

std::size_t smaller(std::size_t a, std::size_t b) noexcept {
    return a < b ? a : b;
}

Pipe& pipe_of(File& file) noexcept {
    return *static_cast<Pipe*>(file.data);
}

/// Moves bytes from the ring; fault only if none moved.
Result<std::size_t> take(Pipe& pipe, IoBuffer& buffer) noexcept {
    std::size_t moved = 0;
    while (pipe.used != 0 && buffer.remaining() != 0) {
        const std::size_t run = smaller(pipe.used, pipe.capacity - pipe.head);
        auto count = buffer.put(pipe.data + pipe.head, run);
        if (!count)
            return moved != 0 ? Result<std::size_t>{moved} : std::move(count);
        pipe.head = (pipe.head + *count) % pipe.capacity;
        pipe.used -= *count;
        moved += *count;
        if (*count == 0)
            break;
    }
    if (pipe.used == 0)
        pipe.head = 0;
    return moved;
}

Result<std::size_t> give(Pipe& pipe, IoBuffer& buffer) noexcept {
    std::size_t moved = 0;
    while (pipe.used != pipe.capacity && buffer.remaining() != 0) {
        const std::size_t tail = (pipe.head + pipe.used) % pipe.capacity;
        const std::size_t run = smaller(pipe.capacity - pipe.used, pipe.capacity - tail);
        auto count = buffer.get(pipe.data + tail, run);
        if (!count)
            return moved != 0 ? Result<std::size_t>{moved} : std::move(count);
        pipe.used += *count;
        moved += *count;
        if (*count == 0)
            break;
    }
    return moved;
}

Result<std::size_t> read_pipe(File& file, IoBuffer& buffer) noexcept {
    Pipe& pipe = pipe_of(file);
    if (buffer.remaining() == 0)
        return std::size_t{0};
    for (;;) {
        {
            MutexGuard guard{pipe.lock};
            if (pipe.used != 0) {
                auto count = take(pipe, buffer);
                pipe.queue.notify(poll_event::writable);
                return count;
            }
        }
        if (pipe.writers == 0)
            return std::size_t{0};
        if (file.is_nonblocking())
            return Errno::again;
        TRY(pipe.queue.waiters.wait_interruptible(
            [&] { return pipe.used != 0 || pipe.writers == 0; }));
    }
}

Result<std::size_t> write_pipe(File& file, IoBuffer& buffer) noexcept {
    Pipe& pipe = pipe_of(file);
    std::size_t total = 0;
    const std::size_t whole = buffer.remaining();
    const std::size_t needed = whole <= atomic_size ? whole : 1;
    while (buffer.remaining() != 0) {
        if (pipe.readers == 0) {
            signal_current(sigpipe);
            return Errno::pipe;
        }
        {
            MutexGuard guard{pipe.lock};
            if (pipe.capacity - pipe.used >= needed) {
                auto count = give(pipe, buffer);
                if (!count)
                    return total != 0 ? Result<std::size_t>{total} : std::move(count);
                total += *count;
                pipe.queue.notify(poll_event::readable);
                if (*count == 0)
                    break;
                continue;
            }
        }
        if (file.is_nonblocking())
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{Errno::again};
        auto waited = pipe.queue.waiters.wait_interruptible(
            [&] { return pipe.capacity - pipe.used >= needed || pipe.readers == 0; });
        if (!waited)
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{waited.error()};
    }
    return total;
}

Result<std::int64_t> pipe_ioctl(File& file, std::uint32_t command,
                                std::uint64_t argument) noexcept {
    constexpr std::uint32_t fionread = 0x541b;
    if (command != fionread)
        return Errno::notty;
    TRY(write_user(argument, static_cast<int>(pipe_of(file).used)));
    return 0;
}

std::uint32_t poll_pipe(File& file, PollTable* table) noexcept {
    Pipe& pipe = pipe_of(file);
    if (table != nullptr)
        table->watch(pipe.queue);
    std::uint32_t events = 0;
    if (file.can_read()) {
        if (pipe.used != 0)
            events |= poll_event::readable;
        if (pipe.writers == 0)
            events |= poll_event::hup;
    }
    if (file.can_write()) {
        if (pipe.capacity - pipe.used >= atomic_size)
            events |= poll_event::writable;
        if (pipe.readers == 0)
            events |= poll_event::err;
    }
    return events;
}

void leave(File& file, Pipe& pipe) noexcept {
    if (file.can_read())
        --pipe.readers;
    if (file.can_write())
        --pipe.writers;
    pipe.queue.notify(poll_event::hup | poll_event::err);
}

class PipeOps : public FileOps {
public:
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return read_pipe(file, buffer);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return write_pipe(file, buffer);
    }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        return pipe_ioctl(file, command, argument);
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        return poll_pipe(file, table);
    }
    [[nodiscard]] std::uint32_t anonymous_mode() const noexcept override {
        return mode::fifo | 0600U;
    }
    void release(File& file) noexcept override {
        Pipe& pipe = pipe_of(file);
        leave(file, pipe);
        if (pipe.readers == 0 && pipe.writers == 0)
            delete &pipe;
    }

protected:
    ~PipeOps() = default;
};

class AnonymousPipeOps final : public PipeOps {};

/// The Pipe of a FIFO hangs off its inode while somebody has it open.
class FifoOps final : public PipeOps {
public:
    Status open(File& file) noexcept override {
        Inode& inode = *file.inode;
        if (inode.fifo == nullptr)
            inode.fifo = make_pipe();
        if (inode.fifo == nullptr)
            return Errno::nomem;
        auto& pipe = *static_cast<Pipe*>(inode.fifo);
        file.data = &pipe;
        const bool reads = file.can_read();
        const bool writes = file.can_write();
        if (writes && !reads && file.is_nonblocking() && pipe.readers == 0) {
            discard_if_unused(inode, pipe);
            return Errno::nxio;
        }
        pipe.readers += reads ? 1 : 0;
        pipe.writers += writes ? 1 : 0;
        pipe.reader_opens += reads ? 1 : 0;
        pipe.writer_opens += writes ? 1 : 0;
        pipe.queue.notify(0);
        if ((reads && writes) || file.is_nonblocking())
            return {};
        const std::uint32_t seen = reads ? pipe.writer_opens : pipe.reader_opens;
        auto status = pipe.queue.waiters.wait_interruptible([&] {
            return reads ? pipe.writers != 0 || pipe.writer_opens != seen
                         : pipe.readers != 0 || pipe.reader_opens != seen;
        });
        if (!status) {
            leave(file, pipe);
            discard_if_unused(inode, pipe);
        }
        return status;
    }
    void release(File& file) noexcept override {
        Pipe& pipe = pipe_of(file);
        leave(file, pipe);
        discard_if_unused(*file.inode, pipe);
    }

private:
    static void discard_if_unused(Inode& inode, Pipe& pipe) noexcept {
        if (pipe.readers != 0 || pipe.writers != 0)
            return;
        inode.fifo = nullptr;
        delete &pipe;
    }
};

} // namespace

FileOps& fifo_ops() noexcept {
    static FifoOps ops;
    return ops;
}

Result<Ends> create(std::uint32_t flags) noexcept {
    static AnonymousPipeOps ops;
    Pipe* pipe = make_pipe();
    if (pipe == nullptr)
        return Errno::nomem;
    auto reader = File::create_anonymous(ops, "pipe", pipe, open_flag::rdonly | flags);
    if (!reader) {
        delete pipe;
        return reader.error();
    }
    pipe->readers = 1; // from here on the reader's release frees the pipe
    auto writer = TRY(File::create_anonymous(ops, "pipe", pipe, open_flag::wronly | flags));
    pipe->writers = 1;
    return Ends{*std::move(reader), std::move(writer)};
}

} // namespace kernel::pipe
