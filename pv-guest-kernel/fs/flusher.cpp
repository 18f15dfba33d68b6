// SPDX-License-Identifier: BSD-2-Clause
// The flusher: writes dirty pages back every few seconds, so that a crash loses little.
#include "page_cache.hpp"
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/thread.hpp>
#include <kernel/vfs.hpp>

namespace kernel {

namespace {

constexpr Nanoseconds interval = 5 * ns_per_s;

void flush_for_ever(void*) {
    for (;;) {
        sleep_ns(interval);
        if (page_cache::dirty_pages() != 0)
            (void)vfs::sync_all();
    }
}

void flush_at_shutdown() {
    (void)vfs::sync_all();
}

void start_flusher() {
    if (!spawn_kernel_thread("flusher", flush_for_ever, nullptr))
        printk(Level::error, "flusher: cannot start\n");
    register_shutdown_hook(flush_at_shutdown);
}
CERO_INITCALL(late, start_flusher);

} // namespace
} // namespace kernel
