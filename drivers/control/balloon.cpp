// SPDX-License-Identifier: BSD-2-Clause
// memory/target: dom0 says how much memory this domain is to have, and the balloon brings it there.
#include "../xenbus/store.hpp"

#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

namespace drivers {

namespace {

constexpr const char* target_path = "memory/target";
constexpr std::uint64_t kib_per_page = kernel::page_size / 1024;
constexpr std::uint64_t pages_per_mib = 256;
/// Nothing tells when a process lets go of memory or dom0 has some: ask again after this time.
constexpr kernel::Nanoseconds patience = kernel::ns_per_s;

constinit cero::Atomic<std::uint64_t> target{0}; ///< pages; 0: dom0 has not said yet
constinit kernel::WaitQueue changed;
constinit xenbus::Watch target_watch;

void target_fired(xenbus::Watch&, const char*) {
    const auto kib = xenbus::read_number(target_path);
    if (!kib || *kib < kib_per_page)
        return;
    target.store(*kib / kib_per_page, cero::Order::release);
    changed.wake_all();
}

void complain(std::uint64_t wanted) {
    const std::uint64_t present = kernel::memory_info().total_pages;
    kernel::printk(kernel::Level::notice, "balloon: %llu MiB, %llu are wanted: %s; trying on\n",
                   static_cast<unsigned long long>(present / pages_per_mib),
                   static_cast<unsigned long long>(wanted / pages_per_mib),
                   present > wanted ? "the rest is in use" : "no more is given");
}

[[noreturn]] void run_balloon() {
    std::uint64_t complained_about = 0;
    for (;;) {
        const std::uint64_t wanted = target.load(cero::Order::acquire);
        const auto is_new = [&] { return target.load(cero::Order::acquire) != wanted; };
        const kernel::BalloonProgress progress =
            wanted == 0 ? kernel::BalloonProgress::reached : kernel::balloon_step(wanted);
        switch (progress) {
        case kernel::BalloonProgress::moved:
            kernel::yield();
            break;
        case kernel::BalloonProgress::reached:
            changed.wait(is_new);
            break;
        case kernel::BalloonProgress::stuck:
            if (complained_about != wanted)
                complain(wanted);
            complained_about = wanted;
            static_cast<void>(changed.wait_until(kernel::monotonic_ns() + patience, is_new));
            break;
        }
    }
}

void start_balloon_thread(void*) {
    target_watch.path = target_path;
    target_watch.any_path = true;
    target_watch.fired = target_fired;
    if (!xenbus::add_watch(target_watch))
        kernel::printk(kernel::Level::error, "balloon: cannot watch %s\n", target_path);
    run_balloon();
}

void start_balloon() {
    if (!kernel::is_initial_domain() && xenbus::has_store() &&
        !kernel::spawn_kernel_thread("balloon", start_balloon_thread, nullptr))
        kernel::printk(kernel::Level::error, "balloon: no memory for a thread\n");
}
CERO_INITCALL(device, start_balloon);

} // namespace

} // namespace drivers
