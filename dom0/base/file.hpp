// SPDX-License-Identifier: BSD-2-Clause
// File descriptors and whole-file helpers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cero {

/// Owner of one file descriptor.
class Fd {
public:
    Fd() noexcept = default;
    explicit Fd(int fd) noexcept : fd_{fd} {}
    Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    void reset() noexcept;

private:
    int fd_{-1};
};

/// Opens with O_CLOEXEC; on failure throws an Error that names the file and the cause.
[[nodiscard]] Fd open_file(const std::string& path, int flags, unsigned mode = 0644);
/// Reads a file of at most `limit` bytes whole; std::nullopt when it cannot be read.
[[nodiscard]] std::optional<std::string> read_file(const std::string& path,
                                                   std::size_t limit = 1 << 20);
/// Replaces a file in one step (write to a temporary name, rename). Throws Error.
void write_file(const std::string& path, std::string_view text);
/// Writes everything or returns false (errno says why).
[[nodiscard]] bool write_all(int fd, std::string_view text) noexcept;
/// mkdir -p; failures show up when the directory is used.
void make_directories(const std::string& path) noexcept;
void set_nonblocking(int fd) noexcept;

/// A listening Unix stream socket at `path`, replacing a stale one. Throws Error.
[[nodiscard]] Fd listen_unix(const std::string& path);
/// A connected Unix stream socket, or an empty Fd (errno says why).
[[nodiscard]] Fd connect_unix(const std::string& path) noexcept;

/// Monotonic time in nanoseconds.
[[nodiscard]] std::uint64_t monotonic_ns() noexcept;

} // namespace cero
