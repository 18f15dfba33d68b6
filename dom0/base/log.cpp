// SPDX-License-Identifier: BSD-2-Clause
// Log lines on standard error, one write each so that lines of several services do not mix.
#include "base/log.hpp"

#include "base/file.hpp"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace cero {

namespace {
std::string_view program = "cero";

void begin_anew_when_large() {
    constexpr off_t log_bytes = 256 << 10;
    const char* const path = std::getenv("CERO_LOG");
    struct stat status {};
    if (path == nullptr || ::fstat(2, &status) != 0 || !S_ISREG(status.st_mode) ||
        status.st_size < log_bytes)
        return;
    (void)std::rename(path, (std::string{path} + ".0").c_str());
    if (const Fd fd{::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)})
        (void)::dup2(fd.get(), 2);
}
} // namespace

void set_log_name(std::string_view name) noexcept {
    program = name;
}

void log_line(std::string_view text) noexcept {
    try {
        begin_anew_when_large();
        (void)write_all(2, fmt::format("{}: {}\n", program, text));
    } catch (...) { // out of memory: losing a log line is all that may happen
    }
}

} // namespace cero
