// SPDX-License-Identifier: BSD-2-Clause
// Rows of the Linux benchmark: measured by the TSC, kept in memory, printed after the last one.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace bench {

inline unsigned ticks_called; ///< by it tests/bench/hotspots.py finds a row's window

inline std::uint64_t ticks() {
    std::uint32_t low, high;
    ++ticks_called;
    __asm__ volatile("nopl 0xCE1234(%%rax); lfence; rdtsc" // the nop is the plugin's mark
                     : "=a"(low), "=d"(high)
                     :
                     : "memory");
    return std::uint64_t{high} << 32 | low;
}

/// One more figure; console traffic would disturb the measurements that follow.
void record(const char* name, std::uint64_t value);
void print_all();
[[noreturn]] void fail(const char* what);

/// Ticks per operation in the best of `batches` runs of `count` operations.
template <typename Operation>
void measure(const char* name, int batches, int count, Operation operation) {
    std::uint64_t best = UINT64_MAX;
    for (int batch = 0; batch < batches; ++batch) {
        const std::uint64_t start = ticks();
        for (int n = 0; n < count; ++n)
            operation();
        const std::uint64_t taken = ticks() - start;
        if (taken < best)
            best = taken;
    }
    record(name, best / static_cast<unsigned>(count));
}

void cpu_rows(const char* self);
/// O_DIRECT on a disk; the rows' names start with `prefix`.
void block_rows(const char* device, const char* prefix);
/// Against `serve` at that address.
void net_rows(const char* address, const char* prefix);
/// Echo, sink and source, for net_rows; ends only when killed.
[[noreturn]] void serve();

} // namespace bench
