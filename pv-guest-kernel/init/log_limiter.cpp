// SPDX-License-Identifier: BSD-2-Clause
// Lines for the log that are not written as often as somebody provokes them.
#include <kernel/log_limiter.hpp>
#include <kernel/time.hpp>

namespace kernel {

void printk_limited(LogLimiter& limiter, Level level, const char* format, ...) {
    if (!limiter.admit(monotonic_ns()))
        return;
    if (const std::uint64_t count = limiter.take_left_out(); count != 0)
        printk(level, "(%llu lines like the next one were left out)\n",
               static_cast<unsigned long long>(count));
    va_list args;
    va_start(args, format);
    vprintk(level, format, args);
    va_end(args);
}

} // namespace kernel
