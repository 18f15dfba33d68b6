// SPDX-License-Identifier: BSD-2-Clause
// control/shutdown and control/sysrq: dom0 asks this domain to end, and the domain says what it can
// do.
#include "../xenbus/store.hpp"

#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/thread.hpp>

namespace drivers {

namespace {

constexpr const char* shutdown_path = "control/shutdown";
constexpr const char* sysrq_path = "control/sysrq";

struct Word {
    const char* text;
    kernel::ShutdownKind kind;
};
constexpr Word words[] = {
    {"poweroff", kernel::ShutdownKind::poweroff},
    {"halt", kernel::ShutdownKind::halt},
    {"reboot", kernel::ShutdownKind::reboot},
    {"crash", kernel::ShutdownKind::crash},
};

/// Reads a command and clears it in one transaction, so that the asker sees it taken.
xenbus::Value take_command(const char* path) {
    xenbus::Value command;
    const xenbus::Status taken =
        xenbus::transact([&](xenbus::Transaction transaction) -> xenbus::Status {
            command = TRY(xenbus::read(path, transaction));
            if (command.size() == 0)
                return {};
            return xenbus::write(path, "", transaction);
        });
    if (!taken)
        command = {};
    return command;
}

void shutdown_fired(xenbus::Watch&, const char*) {
    const xenbus::Value command = take_command(shutdown_path);
    if (command.size() == 0)
        return;
    for (const Word& word : words)
        if (command.equals(word.text)) {
            kernel::printk(kernel::Level::notice, "control: %s requested\n", word.text);
            return kernel::request_shutdown(word.kind);
        }
    kernel::printk(kernel::Level::warning, "control: cannot \"%s\"\n", command.c_str());
}

void sysrq_fired(xenbus::Watch&, const char*) {
    const xenbus::Value command = take_command(sysrq_path);
    if (command.size() == 0)
        return;
    switch (command.c_str()[0]) {
    case 'o':
        kernel::shutdown_now(kernel::ShutdownKind::poweroff);
    case 'b':
        kernel::shutdown_now(kernel::ShutdownKind::reboot);
    case 'c':
        kernel::panic("control: crash requested by sysrq");
    default:
        kernel::printk(kernel::Level::warning, "control: sysrq '%c' does nothing here\n",
                       command.c_str()[0]);
    }
}

constinit xenbus::Watch shutdown_watch;
constinit xenbus::Watch sysrq_watch;

void start_control_thread(void*) {
    shutdown_watch.path = shutdown_path;
    shutdown_watch.fired = shutdown_fired;
    sysrq_watch.path = sysrq_path;
    shutdown_watch.any_path = sysrq_watch.any_path = true;
    sysrq_watch.fired = sysrq_fired;
    if (!xenbus::add_watch(shutdown_watch) || !xenbus::add_watch(sysrq_watch))
        kernel::printk(kernel::Level::error, "control: cannot watch\n");
    for (const char* feature : {"poweroff", "halt", "reboot", "sysrq"})
        static_cast<void>(xenbus::write(xenbus::NodePath{"control/feature-%s", feature}, "1"));
}

void start_control() {
    if (!kernel::is_initial_domain() && xenbus::has_store() &&
        !kernel::spawn_kernel_thread("control", start_control_thread, nullptr))
        kernel::printk(kernel::Level::error, "control: no memory for a thread\n");
}
CERO_INITCALL(device, start_control);

} // namespace

} // namespace drivers
