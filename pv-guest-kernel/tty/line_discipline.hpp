// SPDX-License-Identifier: BSD-2-Clause
// LineDiscipline: what happens between the keys and the program. Pure logic; the Tty locks.
#pragma once

#include "termios.hpp"

#include <cstddef>

namespace kernel::tty {

/// What the discipline asks of its terminal while it takes input.
class DisciplineHost {
public:
    /// Echo, to be sent as it is.
    virtual void echo(const char* text, std::size_t size) noexcept = 0;
    /// An interrupt character: SIGINT, SIGQUIT or SIGTSTP for the foreground group.
    virtual void signal(int number) noexcept = 0;
    /// ^S and ^Q.
    virtual void set_output_stopped(bool stopped) noexcept = 0;
    /// Drops output that was not sent yet.
    virtual void discard_output() noexcept = 0;

protected:
    ~DisciplineHost() = default;
};

class LineDiscipline {
public:
    explicit LineDiscipline(DisciplineHost& host) noexcept : host_{host} {}

    void input(char c) noexcept;
    /// New settings; input that waits is kept.
    void set_termios(const Termios& settings) noexcept;
    [[nodiscard]] const Termios& termios() const noexcept { return termios_; }
    void flush_input() noexcept;

    /// True when a read would give something: a line, or bytes in raw mode.
    [[nodiscard]] bool readable() const noexcept {
        return is_canonical() ? lines_ != 0 : used_ != 0;
    }
    /// Bytes that a raw read could take (all of the queue).
    [[nodiscard]] std::size_t available() const noexcept {
        return is_canonical() && lines_ == 0 ? 0 : used_;
    }
    [[nodiscard]] bool is_canonical() const noexcept {
        return (termios_.local & local_flag::icanon) != 0;
    }
    /// Takes up to `size` bytes; in canonical mode at most one line. 0 with readable(): end of
    /// file.
    std::size_t take(char* out, std::size_t size) noexcept;
    /// True when more input should be held back.
    [[nodiscard]] bool is_full() const noexcept { return used_ + line_length_ >= queue_size - 1; }

    /// Translates program output into `out`; returns the number of source bytes used.
    std::size_t process_output(const char* in, std::size_t size, char* out, std::size_t room,
                               std::size_t& produced) noexcept;

private:
    static constexpr std::size_t queue_size = 4096;
    enum Mark : unsigned char { no_mark, end_of_line, end_of_file };

    [[nodiscard]] bool local(std::uint32_t flag) const noexcept {
        return (termios_.local & flag) != 0;
    }
    [[nodiscard]] bool is_control(char c, ControlCharacter which) const noexcept {
        const auto byte = static_cast<unsigned char>(c);
        return termios_.cc[which] != 0 && byte == termios_.cc[which];
    }
    bool input_signal(char c) noexcept;
    bool input_flow_control(char c) noexcept;
    void input_canonical(char c) noexcept;
    bool edit(char c) noexcept;
    void push(char c, Mark mark) noexcept;
    void commit_line(Mark mark) noexcept;
    void erase_character(bool echo_it) noexcept;
    void erase_word() noexcept;
    void kill_line() noexcept;
    void echo_character(char c) noexcept;
    void echo_text(const char* text) noexcept;
    void echo_erase(char c) noexcept;

    DisciplineHost& host_;
    Termios termios_{default_termios};
    char queue_[queue_size];
    unsigned char marks_[queue_size];
    std::size_t head_{};
    std::size_t used_{};
    std::size_t lines_{};
    char line_[queue_size]; ///< being edited
    std::size_t line_length_{};
    bool literal_next_{};
    bool output_stopped_{};
};

} // namespace kernel::tty
