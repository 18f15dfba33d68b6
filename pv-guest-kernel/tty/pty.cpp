// SPDX-License-Identifier: BSD-2-Clause
// Pseudo terminals: /dev/ptmx opens a master; its slave is a Tty at /dev/pts/N.
#include "tty.hpp"
#include <kernel/device.hpp>
#include <kernel/initcall.hpp>
#include <kernel/user_copy.hpp>

#include <cero/lib/format.hpp>

#include <new>

namespace kernel::tty {

namespace {

constexpr std::uint32_t pts_major = 136;
constexpr std::uint32_t ptmx_major = 5;
constexpr std::uint32_t ptmx_minor = 2;
constexpr int max_ptys = 256;

/// Master side of a pair. Dies when the master and every slave descriptor are closed.
class Pty final : public TtyDriver {
public:
    explicit Pty(int index) noexcept
        : index_{index}, slave_{*this, make_device(pts_major, static_cast<std::uint32_t>(index))} {}

    /// Output of the slave becomes input of the master.
    std::size_t write(const char* data, std::size_t size) noexcept override {
        std::size_t taken = 0;
        SpinGuard guard{lock_};
        while (taken < size && used_ < sizeof(data_))
            data_[(head_ + used_++) % sizeof(data_)] = data[taken++];
        if (taken != 0)
            queue_.notify(poll_event::readable);
        return taken;
    }
    void input_consumed() noexcept override { queue_.notify(poll_event::writable); }
    void opened() noexcept override { was_opened_ = true; }
    void closed() noexcept override {
        queue_.notify(poll_event::hup);
        if (!master_open_)
            delete this;
    }

    Result<std::size_t> read_master(File& file, IoBuffer& buffer) noexcept {
        for (;;) {
            char chunk[256];
            std::size_t count = 0;
            {
                SpinGuard guard{lock_};
                while (count < sizeof(chunk) && count < buffer.remaining() && used_ != 0) {
                    chunk[count++] = data_[head_];
                    head_ = (head_ + 1) % sizeof(data_);
                    --used_;
                }
            }
            if (count != 0) {
                slave_.output_possible();
                return buffer.put(chunk, count);
            }
            if (was_opened_ && !slave_.is_open())
                return Errno::io;
            if (file.is_nonblocking())
                return Errno::again;
            TRY(queue_.waiters.wait_interruptible(
                [&] { return used_ != 0 || (was_opened_ && !slave_.is_open()); }));
        }
    }
    Result<std::size_t> write_master(File& file, IoBuffer& buffer) noexcept {
        std::size_t total = 0;
        while (buffer.remaining() != 0) {
            char chunk[256];
            const std::size_t size = TRY(buffer.get(chunk, sizeof(chunk)));
            std::size_t sent = 0;
            while (sent < size) {
                const std::size_t part = slave_.receive(chunk + sent, size - sent);
                sent += part;
                if (part != 0)
                    continue;
                if (file.is_nonblocking())
                    return total + sent != 0 ? Result<std::size_t>{total + sent}
                                             : Result<std::size_t>{Errno::again};
                const std::uint32_t full = poll_event::readable;
                TRY(queue_.waiters.wait_interruptible(
                    [&] { return (slave_.poll(nullptr) & full) == 0; }));
            }
            total += size;
        }
        return total;
    }
    std::uint32_t poll_master(PollTable* table) noexcept {
        if (table != nullptr)
            table->watch(queue_);
        std::uint32_t events = poll_event::writable;
        if (used_ != 0)
            events |= poll_event::readable;
        if (was_opened_ && !slave_.is_open())
            events |= poll_event::hup;
        return events;
    }
    void master_closed() noexcept {
        master_open_ = false;
        (void)unregister_char_device(pts_major, static_cast<std::uint32_t>(index_));
        slave_.hang_up();
        if (!slave_.is_open())
            delete this;
    }
    [[nodiscard]] int index() const noexcept { return index_; }
    [[nodiscard]] Tty& slave() noexcept { return slave_; }

    static bool in_use[max_ptys];
    ~Pty() { in_use[index_] = false; }

private:
    int index_;
    bool master_open_{true};
    bool was_opened_{};
    Spinlock lock_;
    PollQueue queue_;
    char data_[4096];
    std::size_t head_{};
    std::size_t used_{};
    Tty slave_;
};

bool Pty::in_use[max_ptys];

class MasterOps final : public FileOps {
public:
    Status open(File& file) noexcept override {
        int index = 0;
        while (index < max_ptys && Pty::in_use[index])
            ++index;
        if (index == max_ptys)
            return Errno::nospc;
        Pty::in_use[index] = true;
        auto* pty = new (std::nothrow) Pty{index};
        if (pty == nullptr) {
            Pty::in_use[index] = false;
            return Errno::nomem;
        }
        char name[16];
        cero::format_to(name, sizeof(name), "pts/%d", index);
        auto status = register_char_device(name, pts_major, static_cast<std::uint32_t>(index),
                                           tty_ops(), &pty->slave(), 0620);
        if (!status) {
            delete pty;
            return status;
        }
        file.data = pty;
        return {};
    }
    void release(File& file) noexcept override { of(file).master_closed(); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return of(file).read_master(file, buffer);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return of(file).write_master(file, buffer);
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        return of(file).poll_master(table);
    }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        constexpr std::uint32_t get_number = 0x80045430;
        constexpr std::uint32_t set_lock = 0x40045431;
        constexpr std::uint32_t get_lock = 0x80045439;
        constexpr std::uint32_t set_process_group = 0x5410;
        constexpr std::uint32_t set_controlling = 0x540e;
        switch (command) {
        case get_number:
            TRY(write_user(argument, of(file).index()));
            return 0;
        case set_lock:
            return 0;
        case get_lock:
            TRY(write_user(argument, 0));
            return 0;
        case set_process_group:
        case set_controlling:
            return Errno::notty;
        default: // settings and window size are those of the slave
            return of(file).slave().ioctl(file, command, argument);
        }
    }

private:
    static Pty& of(File& file) noexcept { return *static_cast<Pty*>(file.data); }
};

void register_ptmx() {
    static MasterOps ops;
    (void)register_char_device("ptmx", ptmx_major, ptmx_minor, ops, nullptr, 0666);
}
CERO_INITCALL(fs, register_ptmx);

} // namespace
} // namespace kernel::tty
