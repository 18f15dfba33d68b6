// SPDX-License-Identifier: BSD-2-Clause
// Tty: one terminal: a line discipline, an output queue, and its place in job control.
#pragma once

#include "line_discipline.hpp"
#include <kernel/file.hpp>
#include <kernel/sync.hpp>
#include <kernel/tty.hpp>
#include <kernel/vfs.hpp>

namespace kernel::tty {

/// Where the output of a terminal goes.
class TtyDriver {
public:
    /// Takes as much as fits now; any context.
    virtual std::size_t write(const char* data, std::size_t size) noexcept = 0;
    /// Input was consumed: a sender that was held back may go on.
    virtual void input_consumed() noexcept {}
    virtual void opened() noexcept {}
    /// The last descriptor is closed.
    virtual void closed() noexcept {}

protected:
    ~TtyDriver() = default;
};

/// `lock` guards the discipline, the output queue and the job-control fields; it masks events,
/// because input arrives in event context.
class Tty final : private DisciplineHost {
public:
    Tty(TtyDriver& driver, DeviceNumber number) noexcept;
    ~Tty();
    Tty(const Tty&) = delete;
    Tty& operator=(const Tty&) = delete;

    /// From the driver, any context.
    std::size_t receive(const char* data, std::size_t size) noexcept;
    void output_possible() noexcept;
    /// The line is gone: readers see the end, writers EIO, the session SIGHUP.
    void hang_up() noexcept;
    void revive() noexcept { hung_up_ = false; }

    Status open(File& file) noexcept;
    void release(File& file) noexcept;
    Result<std::size_t> read(File& file, IoBuffer& buffer) noexcept;
    Result<std::size_t> write(File& file, IoBuffer& buffer) noexcept;
    Result<std::int64_t> ioctl(File& file, std::uint32_t command, std::uint64_t argument) noexcept;
    std::uint32_t poll(PollTable* table) noexcept;

    [[nodiscard]] int session() const noexcept { return session_; }
    [[nodiscard]] int foreground() const noexcept { return foreground_; }
    [[nodiscard]] DeviceNumber number() const noexcept { return number_; }
    [[nodiscard]] bool is_open() const noexcept { return opens_ != 0; }
    void set_window(const WindowSize& size) noexcept;
    [[nodiscard]] WindowSize window() const noexcept { return window_; }
    void leave_session() noexcept { session_ = foreground_ = 0; }

    static Tty* of_session(int session) noexcept;

    cero::ListLink all_link;

private:
    void echo(const char* text, std::size_t size) noexcept override;
    void signal(int number) noexcept override;
    void set_output_stopped(bool stopped) noexcept override;
    void discard_output() noexcept override;

    Status check_background(int signal_number, bool only_if_tostop) noexcept;
    Status wait_for_input(File& file, std::size_t minimum) noexcept;
    void push_output() noexcept;
    Status drain() noexcept;
    Status set_termios(std::uint64_t argument, std::uint32_t command) noexcept;
    Status acquire(bool force) noexcept;
    Result<std::int64_t> job_ioctl(std::uint32_t command, std::uint64_t argument) noexcept;

    static constexpr std::size_t output_size = 4096;

    TtyDriver& driver_;
    DeviceNumber number_;
    Spinlock lock_;
    PollQueue queue_;
    LineDiscipline discipline_;
    char output_[output_size];
    std::size_t output_head_{};
    std::size_t output_used_{};
    bool output_stopped_{};
    bool hung_up_{};
    int session_{};
    int foreground_{};
    unsigned opens_{};
    WindowSize window_{24, 80, 0, 0};
};

/// The operations of every terminal file; File::data is the Tty.
FileOps& tty_ops() noexcept;

} // namespace kernel::tty
