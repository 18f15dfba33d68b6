// SPDX-License-Identifier: BSD-2-Clause
#include <platform/log/log.hpp>

#include <arch/api/clock.hpp>
#include <cero/lib/format.hpp>
#include <core/lock.hpp>
#include <platform/serial/uart.hpp>

#include <cstring>

namespace cero {
namespace platform {
namespace {

constexpr std::size_t ring_bytes = 32768;
constexpr std::size_t line_bytes = 256;
char ring[ring_bytes];
std::uint64_t written; ///< running byte count; the ring holds the last ring_bytes of them
std::uint64_t cleared;
arch::Level serial_level = arch::Level::info;
bool clock_ready;
constinit Spinlock<LockRank::console> console_lock;

/// A line takes milliseconds: other CPUs' shootdowns are answered meanwhile, but for a CPU that may be amid an answer,
/// or before it can. Their calls may need the console.
void emit_serial(const char* text, std::size_t bytes, bool answer) noexcept {
    for (std::size_t n = 0; n < bytes; ++n) {
        if (text[n] == '\n') uart::put('\r');
        uart::put(text[n]);
        if (answer) arch::service_remote_requests(false);
    }
}

void emit(const char* text, std::size_t bytes, bool to_serial, bool answer) noexcept {
    for (std::size_t n = 0; n < bytes; ++n) ring[written++ % ring_bytes] = text[n];
    if (to_serial) emit_serial(text, bytes, answer);
}

std::size_t format_line(char (&line)[line_bytes], const char* format, va_list args) noexcept {
    const std::uint64_t now = clock_ready ? arch::system_time().raw() : 0;
    int used = format_to(line, line_bytes, "[%5lu.%06lu] ", now / 1000000000, now / 1000 % 1000000);
    used += vformat_to(line + used, line_bytes - static_cast<std::size_t>(used) - 1, format, args);
    auto length = static_cast<std::size_t>(used);
    if (length > line_bytes - 2) length = line_bytes - 2;
    line[length++] = '\n';
    return length;
}

} // namespace

void set_log_level(arch::Level serial) noexcept { serial_level = serial; }
void log_clock_ready() noexcept { clock_ready = true; }
void log_emergency(const char* format, ...) noexcept {
    char line[line_bytes];
    va_list args;
    va_start(args, format);
    const std::size_t length = format_line(line, format, args);
    va_end(args);
    emit(line, length, true, false);
}

} // namespace platform

namespace arch {
using namespace platform;

void log(Level level, const char* format, ...) noexcept {
    char line[line_bytes];
    va_list args;
    va_start(args, format);
    const std::size_t length = format_line(line, format, args);
    va_end(args);
    const LockGuard guard{console_lock};
    emit(line, length, level <= serial_level, clock_ready);
}

void console_write(const char* text, std::size_t bytes) noexcept {
    const LockGuard guard{console_lock};
    emit_serial(text, bytes, true);
}

std::size_t console_read(char* out, std::size_t bytes) noexcept { return uart::take(out, bytes); }

std::size_t log_read(std::uint64_t& index, char* out, std::size_t bytes) noexcept {
    const LockGuard guard{console_lock};
    const std::uint64_t oldest = written > ring_bytes ? written - ring_bytes : 0;
    if (index < oldest) index = oldest;
    if (index < cleared) index = cleared;
    std::size_t count = 0;
    while (count < bytes && index < written) out[count++] = ring[index++ % ring_bytes];
    return count;
}

void log_clear() noexcept {
    const LockGuard guard{console_lock};
    cleared = written;
}

} // namespace arch
} // namespace cero
