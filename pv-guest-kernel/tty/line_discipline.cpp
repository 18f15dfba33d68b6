// SPDX-License-Identifier: BSD-2-Clause
// LineDiscipline: input mapping, editing, echo, signals, output processing.
#include "line_discipline.hpp"

#include <cstring>

namespace kernel::tty {

namespace {
enum : int { sigint = 2, sigquit = 3, sigtstp = 20 };

bool is_continuation(char c) noexcept {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}
bool is_control_code(char c) noexcept {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 32 || byte == 127;
}
bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t';
}
} // namespace

void LineDiscipline::push(char c, Mark mark) noexcept {
    if (used_ == queue_size)
        return;
    const std::size_t at = (head_ + used_) % queue_size;
    queue_[at] = c;
    marks_[at] = mark;
    ++used_;
    if (mark != no_mark)
        ++lines_;
}

/// The edited line becomes readable. The end of file carries no byte of its own.
void LineDiscipline::commit_line(Mark mark) noexcept {
    for (std::size_t i = 0; i < line_length_; ++i)
        push(line_[i], i + 1 == line_length_ && mark == end_of_line ? end_of_line : no_mark);
    if (mark == end_of_file)
        push(0, end_of_file);
    line_length_ = 0;
}

void LineDiscipline::set_termios(const Termios& settings) noexcept {
    const bool was_canonical = is_canonical();
    termios_ = settings;
    if (was_canonical && !is_canonical()) {
        for (std::size_t i = 0; i < line_length_; ++i)
            push(line_[i], no_mark);
        line_length_ = 0;
    } else if (!was_canonical && is_canonical() && used_ != 0) {
        unsigned char& mark = marks_[(head_ + used_ - 1) % queue_size];
        if (mark == no_mark) {
            mark = end_of_line;
            ++lines_;
        }
    }
    if ((termios_.input & input_flag::ixon) == 0 && output_stopped_) {
        output_stopped_ = false;
        host_.set_output_stopped(false);
    }
}

void LineDiscipline::flush_input() noexcept {
    head_ = used_ = lines_ = line_length_ = 0;
}

std::size_t LineDiscipline::take(char* out, std::size_t size) noexcept {
    std::size_t taken = 0;
    const bool canonical = is_canonical();
    while (used_ != 0 && (taken < size || marks_[head_] == end_of_file)) {
        const auto mark = static_cast<Mark>(marks_[head_]);
        if (mark == end_of_file && taken != 0 && !canonical)
            break;
        const char c = queue_[head_];
        head_ = (head_ + 1) % queue_size;
        --used_;
        if (mark != no_mark)
            --lines_;
        if (mark == end_of_file) {
            if (canonical)
                break;
            continue;
        }
        out[taken++] = c;
        if (canonical && mark == end_of_line)
            break;
    }
    return taken;
}

void LineDiscipline::echo_text(const char* text) noexcept {
    host_.echo(text, std::strlen(text));
}

void LineDiscipline::echo_character(char c) noexcept {
    if (c == '\n') {
        if (local(local_flag::echo) || (local(local_flag::echonl) && is_canonical()))
            echo_text((termios_.output & output_flag::opost) != 0 &&
                              (termios_.output & output_flag::onlcr) != 0
                          ? "\r\n"
                          : "\n");
        return;
    }
    if (!local(local_flag::echo))
        return;
    if (local(local_flag::echoctl) && is_control_code(c) && c != '\t') {
        const char caret[2] = {'^', static_cast<char>(c ^ 0x40)};
        host_.echo(caret, 2);
    } else {
        host_.echo(&c, 1);
    }
}

/// Takes the last shown character off the screen.
void LineDiscipline::echo_erase(char c) noexcept {
    if (!local(local_flag::echo))
        return;
    if (!local(local_flag::echoe)) {
        echo_character(static_cast<char>(termios_.cc[verase]));
        return;
    }
    if (local(local_flag::echoctl) && is_control_code(c) && c != '\t')
        echo_text("\b \b\b \b");
    else
        echo_text("\b \b");
}

void LineDiscipline::erase_character(bool echo_it) noexcept {
    if (line_length_ == 0)
        return;
    char last = line_[--line_length_];
    if ((termios_.input & input_flag::iutf8) != 0)
        while (is_continuation(last) && line_length_ != 0)
            last = line_[--line_length_];
    if (echo_it)
        echo_erase(last);
}

void LineDiscipline::erase_word() noexcept {
    while (line_length_ != 0 && is_blank(line_[line_length_ - 1]))
        erase_character(true);
    while (line_length_ != 0 && !is_blank(line_[line_length_ - 1]))
        erase_character(true);
}

void LineDiscipline::kill_line() noexcept {
    if (local(local_flag::echoke) && local(local_flag::echoe)) {
        while (line_length_ != 0)
            erase_character(true);
        return;
    }
    line_length_ = 0;
    if (local(local_flag::echok))
        echo_character('\n');
}

bool LineDiscipline::input_signal(char c) noexcept {
    int number = 0;
    if (is_control(c, vintr))
        number = sigint;
    else if (is_control(c, vquit))
        number = sigquit;
    else if (is_control(c, vsusp))
        number = sigtstp;
    if (number == 0)
        return false;
    if (!local(local_flag::noflsh)) {
        flush_input();
        host_.discard_output();
    }
    echo_character(c);
    host_.signal(number);
    return true;
}

bool LineDiscipline::input_flow_control(char c) noexcept {
    if (is_control(c, vstart) || is_control(c, vstop)) {
        output_stopped_ = is_control(c, vstop);
        host_.set_output_stopped(output_stopped_);
        return true;
    }
    if (output_stopped_ && (termios_.input & input_flag::ixany) != 0) {
        output_stopped_ = false;
        host_.set_output_stopped(false);
    }
    return false;
}

bool LineDiscipline::edit(char c) noexcept {
    if (is_control(c, verase) || (c == '\b' && termios_.cc[verase] == 127)) {
        erase_character(true);
    } else if (is_control(c, vkill)) {
        kill_line();
    } else if (local(local_flag::iexten) && is_control(c, vwerase)) {
        erase_word();
    } else if (local(local_flag::iexten) && is_control(c, vlnext)) {
        literal_next_ = true;
        if (local(local_flag::echo))
            echo_text("^\b");
    } else if (local(local_flag::iexten) && is_control(c, vreprint)) {
        echo_character(c);
        echo_character('\n');
        for (std::size_t i = 0; i < line_length_; ++i)
            echo_character(line_[i]);
    } else {
        return false;
    }
    return true;
}

void LineDiscipline::input_canonical(char c) noexcept {
    if (literal_next_) {
        literal_next_ = false;
    } else {
        if (edit(c))
            return;
        if (is_control(c, veof)) {
            commit_line(end_of_file);
            return;
        }
        if (c == '\n' || is_control(c, veol) || is_control(c, veol2)) {
            if (line_length_ == queue_size)
                --line_length_;
            line_[line_length_++] = c;
            echo_character(c);
            commit_line(end_of_line);
            return;
        }
    }
    if (line_length_ + used_ >= queue_size - 1) { // room stays for the end of the line
        if ((termios_.input & input_flag::imaxbel) != 0)
            echo_text("\a");
        return;
    }
    line_[line_length_++] = c;
    echo_character(c);
}

void LineDiscipline::input(char c) noexcept {
    if ((termios_.input & input_flag::istrip) != 0)
        c = static_cast<char>(c & 0x7f);
    const bool literal = literal_next_ && is_canonical();
    if (!literal) {
        if (local(local_flag::isig) && input_signal(c))
            return;
        if ((termios_.input & input_flag::ixon) != 0 && input_flow_control(c))
            return;
        if (c == '\r') {
            if ((termios_.input & input_flag::igncr) != 0)
                return;
            if ((termios_.input & input_flag::icrnl) != 0)
                c = '\n';
        } else if (c == '\n' && (termios_.input & input_flag::inlcr) != 0) {
            c = '\r';
        }
    }
    if (is_canonical()) {
        input_canonical(c);
        return;
    }
    if (used_ < queue_size) {
        push(c, no_mark);
        echo_character(c);
    }
}

std::size_t LineDiscipline::process_output(const char* in, std::size_t size, char* out,
                                           std::size_t room, std::size_t& produced) noexcept {
    produced = 0;
    std::size_t used = 0;
    const std::uint32_t flags = termios_.output;
    for (; used < size && produced + 2 <= room; ++used) {
        const char c = in[used];
        if ((flags & output_flag::opost) == 0) {
            out[produced++] = c;
        } else if (c == '\n' && (flags & output_flag::onlcr) != 0) {
            out[produced++] = '\r';
            out[produced++] = '\n';
        } else if (c == '\r' && (flags & output_flag::ocrnl) != 0) {
            out[produced++] = '\n';
        } else {
            out[produced++] = c;
        }
    }
    return used;
}

} // namespace kernel::tty
