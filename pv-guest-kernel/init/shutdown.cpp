// SPDX-License-Identifier: BSD-2-Clause
// Orderly and immediate ends of the domain.
#include "arch/x86_64/hypercalls.hpp"
#include "process/process.hpp"

#include <kernel/boot.hpp>
#include <kernel/log.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

namespace kernel {
namespace {

constexpr unsigned max_hooks = 8;
constexpr Nanoseconds grace_period = 30 * ns_per_s;
void (*hooks[max_hooks])();
unsigned hook_count;
ShutdownKind requested_kind;
bool requested;

void wait_and_stop(void*) {
    sleep_ns(grace_period);
    printk(Level::warning, "init did not end the system in time");
    shutdown_now(requested_kind);
}

} // namespace

void register_shutdown_hook(void (*hook)()) noexcept {
    KERNEL_ASSERT(hook_count < max_hooks);
    hooks[hook_count++] = hook;
}

void request_shutdown(ShutdownKind kind) noexcept {
    if (requested)
        return;
    requested = true;
    requested_kind = kind;
    printk(Level::info, "shutdown requested");
    // What busybox init (and ours) take these signals for.
    signal_process(1, kind == ShutdownKind::reboot ? sig_term
                      : kind == ShutdownKind::halt ? sig_usr1
                                                   : sig_usr2);
    if (!spawn_kernel_thread("shutdown", wait_and_stop, nullptr))
        printk(Level::error, "no memory to watch over the shutdown");
}

void shutdown_now(ShutdownKind kind) noexcept {
    while (hook_count != 0)
        hooks[--hook_count]();
    constexpr std::uint32_t reasons[] = {CERO_SHUTDOWN_poweroff, CERO_SHUTDOWN_reboot,
                                         CERO_SHUTDOWN_poweroff, CERO_SHUTDOWN_crash};
    const cero_sched_shutdown argument{reasons[static_cast<unsigned>(kind)]};
    for (;;)
        static_cast<void>(hyper::sched_op(CERO_SCHEDOP_shutdown, &argument));
}

} // namespace kernel
