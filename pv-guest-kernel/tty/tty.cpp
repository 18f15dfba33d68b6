// SPDX-License-Identifier: BSD-2-Clause
// Tty: reading, writing, settings and job control of a terminal.
#include "tty.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>
#include <kernel/user_copy.hpp>

#include <cstring>

namespace kernel {
namespace tty {

namespace {

enum : int { sighup = 1, sigcont = 18, sigttin = 21, sigttou = 22, sigwinch = 28 };

namespace request {
enum : std::uint32_t {
    tcgets = 0x5401,
    tcsets,
    tcsetsw,
    tcsetsf,
    tcsbrk = 0x5409,
    tcxonc,
    tcflsh,
    tiocexcl,
    tiocnxcl,
    tiocsctty,
    tiocgpgrp,
    tiocspgrp,
    tiocoutq,
    tiocgwinsz = 0x5413,
    tiocswinsz,
    tiocmget,
    fionread = 0x541b,
    tioccons = 0x541d,
    tiocnotty = 0x5422,
    tiocsetd,
    tiocgetd,
    tcsbrkp,
    tiocgsid = 0x5429,
    tiocvhangup = 0x5437,
};
}

struct AllTtys {
    Spinlock lock;
    cero::IntrusiveList<Tty, &Tty::all_link> list;
};
AllTtys& all_ttys() noexcept {
    static AllTtys all;
    return all;
}

} // namespace

Tty::Tty(TtyDriver& driver, DeviceNumber number) noexcept
    : driver_{driver}, number_{number}, discipline_{*this} {
    SpinGuard guard{all_ttys().lock};
    all_ttys().list.push_back(*this);
}

Tty::~Tty() {
    SpinGuard guard{all_ttys().lock};
    all_ttys().list.remove(*this);
}

Tty* Tty::of_session(int session) noexcept {
    if (session == 0)
        return nullptr;
    SpinGuard guard{all_ttys().lock};
    for (Tty& tty : all_ttys().list)
        if (tty.session_ == session)
            return &tty;
    return nullptr;
}

std::size_t Tty::receive(const char* data, std::size_t size) noexcept {
    std::size_t taken = 0;
    bool readable = false;
    {
        SpinGuard guard{lock_};
        // A full queue in canonical mode still takes control characters; the discipline drops the
        // rest.
        while (taken < size && (discipline_.is_canonical() || !discipline_.is_full()))
            discipline_.input(data[taken++]);
        push_output();
        readable = discipline_.readable();
    }
    if (readable)
        queue_.notify(poll_event::readable);
    return taken;
}

void Tty::output_possible() noexcept {
    {
        SpinGuard guard{lock_};
        push_output();
    }
    queue_.notify(poll_event::writable);
}

/// Gives the queue to the driver as far as it takes it; lock held.
void Tty::push_output() noexcept {
    while (output_used_ != 0 && !output_stopped_) {
        const std::size_t run =
            output_used_ < output_size - output_head_ ? output_used_ : output_size - output_head_;
        const std::size_t sent = driver_.write(output_ + output_head_, run);
        output_head_ = (output_head_ + sent) % output_size;
        output_used_ -= sent;
        if (sent < run)
            return;
    }
}

void Tty::echo(const char* text, std::size_t size) noexcept {
    if (size > output_size - output_used_)
        return;
    for (std::size_t i = 0; i < size; ++i)
        output_[(output_head_ + output_used_++) % output_size] = text[i];
}

void Tty::signal(int number) noexcept {
    if (foreground_ != 0)
        signal_process_group(foreground_, number);
}

void Tty::set_output_stopped(bool stopped) noexcept {
    output_stopped_ = stopped;
}
void Tty::discard_output() noexcept {
    output_used_ = 0;
}

void Tty::hang_up() noexcept {
    int session = 0;
    int foreground = 0;
    {
        SpinGuard guard{lock_};
        hung_up_ = true;
        session = std::exchange(session_, 0);
        foreground = std::exchange(foreground_, 0);
    }
    if (session != 0)
        signal_process(session, sighup);
    if (foreground != 0) {
        signal_process_group(foreground, sighup);
        signal_process_group(foreground, sigcont);
    }
    queue_.notify(poll_event::hup | poll_event::readable | poll_event::writable);
}

Status Tty::open(File& file) noexcept {
    ++opens_;
    const JobControl job = current_job();
    if ((file.flags & open_flag::noctty) == 0 && job.is_session_leader && session_ == 0 &&
        of_session(job.session) == nullptr)
        (void)acquire(false);
    driver_.opened();
    return {};
}

void Tty::release(File&) noexcept {
    if (--opens_ == 0)
        driver_.closed(); // may delete this
}

/// A background process must not use its terminal: it is stopped, or refused when it cannot be.
Status Tty::check_background(int number, bool only_if_tostop) noexcept {
    const JobControl job = current_job();
    if (session_ == 0 || job.session != session_ || job.process_group == foreground_ ||
        foreground_ == 0)
        return {};
    if (only_if_tostop && (discipline_.termios().local & local_flag::tostop) == 0)
        return {};
    if (current_blocks_signal(number))
        return number == sigttin ? Status{Errno::io} : Status{};
    if (process_group_is_orphaned(job.process_group))
        return Errno::io;
    signal_process_group(job.process_group, number);
    return Errno::restart;
}

Status Tty::wait_for_input(File& file, std::size_t minimum) noexcept {
    const Termios& settings = discipline_.termios();
    auto enough = [&] {
        return hung_up_ || (discipline_.is_canonical() ? discipline_.readable()
                                                       : discipline_.available() >= minimum);
    };
    if (enough())
        return {};
    if (file.is_nonblocking())
        return Errno::again;
    const Nanoseconds tenths = settings.cc[vtime] * (ns_per_s / 10);
    if (discipline_.is_canonical() || tenths == 0)
        return queue_.waiters.wait_interruptible(enough);
    if (settings.cc[vmin] != 0) { // the timer starts with the first byte
        TRY(queue_.waiters.wait_interruptible([&] { return hung_up_ || discipline_.readable(); }));
    }
    auto status = queue_.waiters.wait_until_interruptible(monotonic_ns() + tenths, enough);
    return status.error() == Errno::timedout ? Status{} : Status{status.error()};
}

Result<std::size_t> Tty::read(File& file, IoBuffer& buffer) noexcept {
    if (buffer.remaining() == 0)
        return std::size_t{0};
    TRY(check_background(sigttin, false));
    if (hung_up_)
        return std::size_t{0};
    const Termios& settings = discipline_.termios();
    std::size_t minimum = 1;
    if (!discipline_.is_canonical()) {
        if (settings.cc[vmin] == 0 && settings.cc[vtime] == 0 && !discipline_.readable())
            return std::size_t{0};
        minimum = settings.cc[vmin] < 1 ? 1 : settings.cc[vmin];
        minimum = minimum < buffer.remaining() ? minimum : buffer.remaining();
    }
    TRY(wait_for_input(file, minimum));
    std::size_t total = 0;
    for (;;) {
        char chunk[256];
        std::size_t count = 0;
        bool line_ended = false;
        {
            SpinGuard guard{lock_};
            const std::size_t room =
                buffer.remaining() < sizeof(chunk) ? buffer.remaining() : sizeof(chunk);
            if (total != 0 && !discipline_.is_canonical() && !discipline_.readable())
                break;
            count = discipline_.take(chunk, room);
            line_ended = discipline_.is_canonical() && (count < room || chunk[count - 1] == '\n');
        }
        if (count != 0)
            total += TRY(buffer.put(chunk, count));
        if (count == 0 || line_ended || buffer.remaining() == 0)
            break;
    }
    driver_.input_consumed();
    return total;
}

Result<std::size_t> Tty::write(File& file, IoBuffer& buffer) noexcept {
    TRY(check_background(sigttou, true));
    std::size_t total = 0;
    char chunk[256];
    while (buffer.remaining() != 0) {
        const std::size_t size = TRY(buffer.get(chunk, sizeof(chunk)));
        std::size_t sent = 0;
        while (sent < size) {
            if (hung_up_)
                return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{Errno::io};
            {
                SpinGuard guard{lock_};
                char processed[512];
                const std::size_t free_space = output_size - output_used_;
                std::size_t produced = 0;
                sent += discipline_.process_output(
                    chunk + sent, size - sent, processed,
                    free_space < sizeof(processed) ? free_space : sizeof(processed), produced);
                echo(processed, produced);
                push_output();
            }
            if (sent == size)
                break;
            if (file.is_nonblocking())
                return total + sent != 0 ? Result<std::size_t>{total + sent}
                                         : Result<std::size_t>{Errno::again};
            auto waited = queue_.waiters.wait_interruptible(
                [&] { return hung_up_ || output_size - output_used_ >= 2; });
            if (!waited)
                return total + sent != 0 ? Result<std::size_t>{total + sent}
                                         : Result<std::size_t>{waited.error()};
        }
        total += size;
    }
    return total;
}

std::uint32_t Tty::poll(PollTable* table) noexcept {
    if (table != nullptr)
        table->watch(queue_);
    if (hung_up_)
        return poll_event::readable | poll_event::writable | poll_event::hup;
    std::uint32_t events = 0;
    if (discipline_.readable())
        events |= poll_event::readable;
    if (output_size - output_used_ >= output_size / 4)
        events |= poll_event::writable;
    return events;
}

Status Tty::drain() noexcept {
    return queue_.waiters.wait_interruptible([&] { return hung_up_ || output_used_ == 0; });
}

Status Tty::set_termios(std::uint64_t argument, std::uint32_t command) noexcept {
    TRY(check_background(sigttou, false));
    const auto settings = TRY(read_user<Termios>(argument));
    if (command != request::tcsets)
        TRY(drain());
    {
        SpinGuard guard{lock_};
        if (command == request::tcsetsf)
            discipline_.flush_input();
        discipline_.set_termios(settings);
        push_output();
    }
    queue_.notify(poll_event::readable | poll_event::writable);
    return {};
}

void Tty::set_window(const WindowSize& size) noexcept {
    if (std::memcmp(&size, &window_, sizeof(size)) == 0)
        return;
    window_ = size;
    if (foreground_ != 0)
        signal_process_group(foreground_, sigwinch);
}

/// The current session takes the terminal as its own.
Status Tty::acquire(bool force) noexcept {
    const JobControl job = current_job();
    if (session_ == job.session && session_ != 0)
        return {};
    if (!job.is_session_leader || of_session(job.session) != nullptr)
        return Errno::perm;
    if (session_ != 0 && !(force && current_credentials().euid == 0))
        return Errno::perm;
    SpinGuard guard{lock_};
    session_ = job.session;
    foreground_ = job.process_group;
    return {};
}

Result<std::int64_t> Tty::job_ioctl(std::uint32_t command, std::uint64_t argument) noexcept {
    const JobControl job = current_job();
    switch (command) {
    case request::tiocsctty:
        TRY(acquire(argument == 1));
        return 0;
    case request::tiocnotty:
        if (session_ != job.session || session_ == 0)
            return Errno::notty;
        if (job.is_session_leader)
            release_controlling_terminal(job.session);
        return 0;
    case request::tiocgpgrp:
        if (session_ == 0 || session_ != job.session)
            return Errno::notty;
        TRY(write_user(argument, foreground_));
        return 0;
    case request::tiocgsid:
        if (session_ == 0)
            return Errno::notty;
        TRY(write_user(argument, session_));
        return 0;
    default: { // tiocspgrp
        if (session_ == 0 || session_ != job.session)
            return Errno::notty;
        TRY(check_background(sigttou, false));
        const int group = TRY(read_user<int>(argument));
        if (group < 0)
            return Errno::inval;
        if (!process_group_in_session(group, session_))
            return Errno::perm;
        foreground_ = group;
        return 0;
    }
    }
}

Result<std::int64_t> Tty::ioctl(File&, std::uint32_t command, std::uint64_t argument) noexcept {
    switch (command) {
    case request::tcgets:
        TRY(write_user(argument, discipline_.termios()));
        return 0;
    case request::tcsets:
    case request::tcsetsw:
    case request::tcsetsf:
        TRY(set_termios(argument, command));
        return 0;
    case request::tcsbrk:
    case request::tcsbrkp:
        TRY(drain());
        return 0;
    case request::tcxonc:
        output_stopped_ = argument == 0;
        output_possible();
        return 0;
    case request::tcflsh: {
        SpinGuard guard{lock_};
        if (argument != 1)
            discipline_.flush_input();
        if (argument != 0)
            discard_output();
        return 0;
    }
    case request::tiocsctty:
    case request::tiocnotty:
    case request::tiocgpgrp:
    case request::tiocspgrp:
    case request::tiocgsid:
        return job_ioctl(command, argument);
    case request::tiocgwinsz:
        TRY(write_user(argument, window_));
        return 0;
    case request::tiocswinsz:
        set_window(TRY(read_user<WindowSize>(argument)));
        return 0;
    case request::tiocoutq:
        TRY(write_user(argument, static_cast<int>(output_used_)));
        return 0;
    case request::fionread:
        TRY(write_user(argument, static_cast<int>(discipline_.available())));
        return 0;
    case request::tiocgetd:
    case request::tiocmget:
        TRY(write_user(argument, 0));
        return 0;
    case request::tiocexcl:
    case request::tiocnxcl:
    case request::tioccons:
    case request::tiocsetd:
        return 0;
    case request::tiocvhangup:
        hang_up();
        return 0;
    default:
        return Errno::notty;
    }
}

namespace {

class TtyOps final : public FileOps {
public:
    Status open(File& file) noexcept override { return of(file).open(file); }
    void release(File& file) noexcept override { of(file).release(file); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return of(file).read(file, buffer);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        return of(file).write(file, buffer);
    }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        return of(file).ioctl(file, command, argument);
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        return of(file).poll(table);
    }

private:
    static Tty& of(File& file) noexcept { return *static_cast<Tty*>(file.data); }
};

} // namespace

FileOps& tty_ops() noexcept {
    static TtyOps ops;
    return ops;
}

} // namespace tty

void release_controlling_terminal(int session) noexcept {
    tty::Tty* terminal = tty::Tty::of_session(session);
    if (terminal == nullptr)
        return;
    const int group = terminal->foreground();
    terminal->leave_session();
    if (group != 0) {
        signal_process_group(group, tty::sighup);
        signal_process_group(group, tty::sigcont);
    }
}

TerminalInfo session_terminal(int session) noexcept {
    const tty::Tty* terminal = tty::Tty::of_session(session);
    if (terminal == nullptr)
        return {0, -1};
    return {terminal->number(), terminal->foreground()};
}

} // namespace kernel
