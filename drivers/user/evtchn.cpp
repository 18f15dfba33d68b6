// SPDX-License-Identifier: BSD-2-Clause
// /dev/xen/evtchn: programs bind event channels, read the ports that fired and re-enable them by
// writing.
//
// A port that fires is masked and its number queued; writing the number unmasks it. So each port is
// in the queue at most once, and the queue is never longer than the number of bound ports.
#include "ioctl.hpp"

#include <cero/lib/intrusive_list.hpp>
#include <kernel/device.hpp>
#include <kernel/event.hpp>
#include <kernel/initcall.hpp>
#include <kernel/sync.hpp>
#include <kernel/user_copy.hpp>

#include <new>

namespace drivers::user {

namespace {

using kernel::Errno;
using kernel::File;
using kernel::Result;
using kernel::Status;
using kernel::event::Port;

class EvtchnFile;

struct BoundPort {
    EvtchnFile* file{};
    Port port{};
    bool enabled{true};
    cero::ListLink link{};  ///< of the file's ports
    cero::ListLink ready{}; ///< of the file's queue
};

/// One open file: its ports, and those that fired.
class EvtchnFile {
public:
    ~EvtchnFile() {
        while (BoundPort* bound = ports_.front())
            unbind(*bound);
    }

    Result<std::int64_t> adopt(Result<Port> port) noexcept {
        if (!port)
            return port.error();
        auto* bound = new (std::nothrow) BoundPort;
        if (bound == nullptr) {
            kernel::event::close(*port);
            return Errno::nomem;
        }
        bound->file = this;
        bound->port = *port;
        {
            kernel::SpinGuard guard{lock_};
            ports_.push_back(*bound);
        }
        kernel::event::set_handler(*port, fired, bound);
        return std::int64_t{*port};
    }
    BoundPort* find(Port port) noexcept {
        for (BoundPort& bound : ports_)
            if (bound.port == port)
                return &bound;
        return nullptr;
    }
    void unbind(BoundPort& bound) noexcept {
        kernel::event::close(bound.port);
        {
            kernel::SpinGuard guard{lock_};
            ports_.remove(bound);
            ready_.remove(bound);
        }
        delete &bound;
    }
    /// Moves up to `count` fired ports out.
    std::size_t take(Port* out, std::size_t count) noexcept {
        kernel::SpinGuard guard{lock_};
        std::size_t taken = 0;
        while (taken < count) {
            BoundPort* bound = ready_.pop_front();
            if (bound == nullptr)
                break;
            out[taken++] = bound->port;
        }
        return taken;
    }
    void enable(Port port) noexcept {
        BoundPort* bound = find(port);
        if (bound == nullptr || bound->enabled)
            return;
        bound->enabled = true;
        kernel::event::unmask(port);
    }
    void drop_ready() noexcept {
        kernel::SpinGuard guard{lock_};
        while (ready_.pop_front() != nullptr) {
        }
    }
    [[nodiscard]] bool has_ready() noexcept { return !ready_.empty(); }
    kernel::PollQueue queue;
    kernel::Mutex mutex; ///< serialises bind, unbind and enable

private:
    static void fired(Port port, void* context) {
        auto& bound = *static_cast<BoundPort*>(context);
        EvtchnFile& file = *bound.file;
        kernel::event::mask(port);
        bound.enabled = false;
        {
            kernel::SpinGuard guard{file.lock_};
            if (!bound.ready.is_linked())
                file.ready_.push_back(bound);
        }
        file.queue.notify(kernel::poll_event::readable);
    }
    kernel::Spinlock lock_;
    cero::IntrusiveList<BoundPort, &BoundPort::link> ports_;
    cero::IntrusiveList<BoundPort, &BoundPort::ready> ready_;
};

constexpr std::size_t ports_at_once = 64;

class EvtchnOps final : public kernel::FileOps {
public:
    Status open(File& file) noexcept override {
        auto* state = new (std::nothrow) EvtchnFile;
        if (state == nullptr)
            return Errno::nomem;
        file.data = state;
        return {};
    }
    void release(File& file) noexcept override { delete &of(file); }

    Result<std::size_t> read(File& file, kernel::IoBuffer& buffer,
                             std::uint64_t) noexcept override {
        EvtchnFile& state = of(file);
        if (buffer.remaining() < sizeof(Port))
            return buffer.remaining() == 0 ? Result<std::size_t>{std::size_t{0}} : Errno::inval;
        for (;;) {
            Port ports[ports_at_once];
            std::size_t room = buffer.remaining() / sizeof(Port);
            if (room > ports_at_once)
                room = ports_at_once;
            const std::size_t count = state.take(ports, room);
            if (count != 0)
                return buffer.put(ports, count * sizeof(Port));
            if (file.is_nonblocking())
                return Errno::again;
            TRY(state.queue.waiters.wait_interruptible([&] { return state.has_ready(); }));
        }
    }
    Result<std::size_t> write(File& file, kernel::IoBuffer& buffer,
                              std::uint64_t) noexcept override {
        EvtchnFile& state = of(file);
        kernel::MutexGuard guard{state.mutex};
        std::size_t done = 0;
        while (buffer.remaining() >= sizeof(Port)) {
            Port ports[ports_at_once];
            std::size_t size = buffer.remaining() / sizeof(Port) * sizeof(Port);
            if (size > sizeof ports)
                size = sizeof ports;
            const std::size_t got = TRY(buffer.get(ports, size));
            for (std::size_t i = 0; i < got / sizeof(Port); ++i)
                state.enable(ports[i]);
            done += got;
        }
        return done;
    }
    std::uint32_t poll(File& file, kernel::PollTable* table) noexcept override {
        EvtchnFile& state = of(file);
        if (table != nullptr)
            table->watch(state.queue);
        return kernel::poll_event::writable |
               (state.has_ready() ? kernel::poll_event::readable : 0);
    }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        EvtchnFile& state = of(file);
        kernel::MutexGuard guard{state.mutex};
        switch (command) {
        case evtchn_bind_virq:
            return state.adopt(
                kernel::event::bind_virq(TRY(kernel::read_user<std::uint32_t>(argument))));
        case evtchn_bind_interdomain: {
            const auto remote = TRY(kernel::read_user<EvtchnBindInterdomain>(argument));
            return state.adopt(kernel::event::bind_interdomain(
                static_cast<kernel::DomainId>(remote.remote_domain), remote.remote_port));
        }
        case evtchn_bind_unbound_port:
            return state.adopt(kernel::event::alloc_unbound(
                static_cast<kernel::DomainId>(TRY(kernel::read_user<std::uint32_t>(argument)))));
        case evtchn_unbind: {
            BoundPort* bound = state.find(TRY(kernel::read_user<std::uint32_t>(argument)));
            if (bound == nullptr)
                return Errno::notconn;
            state.unbind(*bound);
            return std::int64_t{0};
        }
        case evtchn_notify: {
            const BoundPort* bound = state.find(TRY(kernel::read_user<std::uint32_t>(argument)));
            if (bound == nullptr)
                return Errno::notconn;
            kernel::event::notify(bound->port);
            return std::int64_t{0};
        }
        case evtchn_reset:
            state.drop_ready();
            return std::int64_t{0};
        default:
            return Errno::notty;
        }
    }

private:
    static EvtchnFile& of(File& file) noexcept { return *static_cast<EvtchnFile*>(file.data); }
};
constinit EvtchnOps evtchn;

void start_evtchn() {
    kernel::register_misc_device("xen/evtchn", evtchn);
}
CERO_INITCALL(device, start_evtchn);

} // namespace

} // namespace drivers::user
