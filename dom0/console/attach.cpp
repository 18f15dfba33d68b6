// SPDX-License-Identifier: BSD-2-Clause
// A terminal joined to a guest's console.
#include "console/attach.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "toolstack/paths.hpp"

#include <cerrno>
#include <csignal>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace cero::console {

namespace {

constexpr char detach_key = 0x1d; // Ctrl-]

/// A terminal that passes every byte, until the destructor gives it back its manners.
class RawTerminal {
public:
    RawTerminal() {
        if (::isatty(0) == 0 || ::tcgetattr(0, &before_) != 0)
            return;
        termios raw = before_;
        ::cfmakeraw(&raw);
        is_raw_ = ::tcsetattr(0, TCSANOW, &raw) == 0;
    }
    ~RawTerminal() {
        if (is_raw_)
            ::tcsetattr(0, TCSANOW, &before_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    [[nodiscard]] bool is_raw() const noexcept { return is_raw_; }

private:
    termios before_{};
    bool is_raw_{false};
};

Fd open_service(const std::string& request) {
    ::signal(SIGPIPE, SIG_IGN);
    Fd fd = connect_unix(toolstack::console_socket);
    if (!fd)
        throw Error{
            ExitCode::not_control,
            fmt::format("console service: {}: {}", toolstack::console_socket, errno_text(errno)),
            "Start cero-consoled in the control domain."};
    if (!write_all(fd.get(), request))
        fail("console service: {}", errno_text(errno));
    std::string answer;
    char c = 0;
    while (answer.size() < 512) {
        const ssize_t n = ::read(fd.get(), &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail("console service: it closed the connection");
        if (c == '\n')
            break;
        answer += c;
    }
    if (answer != "ok")
        throw Error{
            ExitCode::not_found,
            fmt::format("console: {}", answer.starts_with("error ") ? answer.substr(6) : answer),
            "\"cero list\" shows all domains."};
    return fd;
}

/// Returns false at the end of the stream.
bool copy_to_output(int fd) {
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    return n > 0 && write_all(1, {buffer, static_cast<std::size_t>(n)});
}

} // namespace

void attach(const std::string& domain, std::size_t replay_bytes, int timeout_ms) {
    const Fd fd = open_service(fmt::format("attach {} {}\n", domain, replay_bytes));
    const RawTerminal terminal;
    bool input_open = true;
    for (;;) {
        pollfd waits[] = {{fd.get(), POLLIN, 0}, {input_open ? 0 : -1, POLLIN, 0}};
        const int ready = ::poll(waits, 2, timeout_ms);
        if (ready == 0)
            return;
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            fail("poll: {}", errno_text(errno));
        }
        if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !copy_to_output(fd.get()))
            return;
        if ((waits[1].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
            continue;
        char buffer[256];
        const ssize_t n = ::read(0, buffer, sizeof buffer);
        if (n <= 0) {
            if (terminal.is_raw() || timeout_ms < 0)
                return;
            input_open = false; // a script's input is over; its answers still come
            continue;
        }
        const std::string_view typed{buffer, static_cast<std::size_t>(n)};
        const std::size_t detach = typed.find(detach_key);
        if (!write_all(fd.get(), typed.substr(0, detach)))
            return;
        if (detach != std::string_view::npos) {
            (void)write_all(1, "\r\n");
            return;
        }
    }
}

void print_history(const std::string& domain) {
    const Fd fd = open_service(fmt::format("history {}\n", domain));
    while (copy_to_output(fd.get()))
        ;
}

} // namespace cero::console
