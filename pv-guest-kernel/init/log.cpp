// SPDX-License-Identifier: BSD-2-Clause
// Kernel log ring, its echo on the console, and panic.
#include "arch/x86_64/hypercalls.hpp"
#include "arch/x86_64/traps.hpp"

#include <kernel/boot.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

#include <cero/lib/format.hpp>

namespace kernel {
namespace {

constexpr std::size_t ring_size = 64 * 1024;
constexpr std::size_t line_size = 512;

char ring[ring_size];
std::uint64_t written; ///< absolute position behind the last byte
Level console_level = Level::info;
bool panicking;

void append(const char* text, std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; ++i)
        ring[written++ % ring_size] = text[i];
}

} // namespace

void set_console_level(Level level) noexcept {
    console_level = level;
}

void vprintk(Level level, const char* format, va_list args) {
    char line[line_size];
    const Nanoseconds now = monotonic_ns();
    int length =
        cero::format_to(line, sizeof line, "<%d>[%5llu.%06llu] ", static_cast<int>(level) + 3,
                        static_cast<unsigned long long>(now / ns_per_s),
                        static_cast<unsigned long long>(now % ns_per_s / ns_per_us));
    length += cero::vformat_to(line + length, sizeof line - static_cast<std::size_t>(length),
                               format, args);
    if (length > static_cast<int>(sizeof line) - 2)
        length = static_cast<int>(sizeof line) - 2;
    if (line[length - 1] != '\n')
        line[length++] = '\n';
    EventGuard guard;
    append(line, static_cast<std::size_t>(length));
    if (level <= console_level)
        console_write(line + 3, static_cast<std::size_t>(length) - 3);
}

void printk(Level level, const char* format, ...) {
    va_list args;
    va_start(args, format);
    vprintk(level, format, args);
    va_end(args);
}

void panic(const char* format, ...) {
    va_list args;
    va_start(args, format);
    if (!panicking) {
        panicking = true;
        set_console_level(Level::debug);
        vprintk(Level::error, format, args);
        printk(Level::error, "panic: the domain stops here");
        print_backtrace(reinterpret_cast<std::uint64_t>(__builtin_return_address(0)),
                        reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)));
    }
    va_end(args);
    const cero_sched_shutdown reason{CERO_SHUTDOWN_crash};
    for (;;)
        static_cast<void>(hyper::sched_op(CERO_SCHEDOP_shutdown, &reason));
}

std::uint64_t log_end() noexcept {
    return written;
}

std::size_t read_log(std::uint64_t& from, char* out, std::size_t size) noexcept {
    EventGuard guard;
    if (written > ring_size && from < written - ring_size)
        from = written - ring_size;
    std::size_t count = 0;
    for (; count < size && from < written; ++count)
        out[count] = ring[from++ % ring_size];
    return count;
}

} // namespace kernel
