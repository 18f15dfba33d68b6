// SPDX-License-Identifier: BSD-2-Clause
// File descriptors, whole files, Unix sockets.
#include "base/file.hpp"

#include "base/error.hpp"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace cero {

void Fd::reset() noexcept {
    if (fd_ >= 0)
        ::close(fd_);
    fd_ = -1;
}

Fd open_file(const std::string& path, int flags, unsigned mode) {
    Fd fd{::open(path.c_str(), flags | O_CLOEXEC, mode)};
    if (!fd) {
        const int error = errno;
        throw Error{error == ENOENT ? ExitCode::not_found : ExitCode::failed,
                    fmt::format("{}: {}", path, errno_text(error))};
    }
    return fd;
}

std::optional<std::string> read_file(const std::string& path, std::size_t limit) {
    const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd)
        return std::nullopt;
    std::string text;
    char buffer[4096];
    for (;;) {
        const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return std::nullopt;
        }
        if (n == 0)
            return text;
        text.append(buffer, static_cast<std::size_t>(n));
        if (text.size() > limit)
            return std::nullopt;
    }
}

bool write_all(int fd, std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

void write_file(const std::string& path, std::string_view text) {
    const std::string temporary = path + ".new";
    {
        const Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
        if (!write_all(fd.get(), text))
            fail("{}: {}", temporary, errno_text(errno));
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0)
        fail("{}: {}", path, errno_text(errno));
}

void make_directories(const std::string& path) noexcept {
    for (std::size_t slash = 1; slash != std::string::npos; ++slash) {
        slash = path.find('/', slash);
        ::mkdir(path.substr(0, slash).c_str(), 0755);
        if (slash == std::string::npos)
            break;
    }
}

void set_nonblocking(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0)
        ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

namespace {

bool fill_address(const std::string& path, sockaddr_un& address) noexcept {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return true;
}

} // namespace

Fd listen_unix(const std::string& path) {
    sockaddr_un address;
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd || !fill_address(path, address))
        fail("{}: cannot make a socket: {}", path, errno_text(errno));
    ::unlink(path.c_str());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        fail("{}: cannot bind: {}", path, errno_text(errno));
    ::chmod(path.c_str(), 0600);
    if (::listen(fd.get(), 64) != 0)
        fail("{}: cannot listen: {}", path, errno_text(errno));
    set_nonblocking(fd.get());
    return fd;
}

Fd connect_unix(const std::string& path) noexcept {
    sockaddr_un address;
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd || !fill_address(path, address))
        return Fd{};
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return Fd{};
    return fd;
}

std::uint64_t monotonic_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace cero
