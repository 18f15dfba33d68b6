// SPDX-License-Identifier: BSD-2-Clause
// What the domain was given at start, and how it ends.
#pragma once

#include <kernel/types.hpp>

#include <string_view>

namespace kernel {

/// True in the control domain (SIF_INITDOMAIN).
[[nodiscard]] bool is_initial_domain() noexcept;
/// True when physical devices may be driven (SIF_PRIVILEGED).
[[nodiscard]] bool is_privileged() noexcept;

[[nodiscard]] std::string_view command_line() noexcept;
/// Value of `name=value` (or an empty text for a bare `name`); found tells them from absence.
struct Option {
    bool found;
    std::string_view value;
};
[[nodiscard]] Option command_line_option(std::string_view name) noexcept;

/// The initial RAM disk, mapped for reading; empty if none. Freed by release_initial_ramdisk().
struct RamDisk {
    const std::byte* data;
    std::size_t size;
};
[[nodiscard]] RamDisk initial_ramdisk() noexcept;
void release_initial_ramdisk() noexcept;

/// Ring pages and ports that the domain builder left for a domU; frame 0 when there is none (dom0).
struct BootRing {
    MachineFrame frame;
    std::uint32_t port;
};
[[nodiscard]] BootRing boot_store_ring() noexcept;
[[nodiscard]] BootRing boot_console_ring() noexcept;
/// A boot ring's page, which lies in own memory.
[[nodiscard]] void* boot_ring_page(const BootRing& ring) noexcept;

enum class ShutdownKind : unsigned char { poweroff, reboot, halt, crash };
/// Orderly shutdown: tells init (SIGUSR2/SIGTERM/SIGUSR1 as busybox init expects), and after a
/// grace period stops anyway. For control/shutdown and the power button. Any context.
void request_shutdown(ShutdownKind kind) noexcept;
/// Ends the domain now (reboot(2)). Runs the registered hooks first.
[[noreturn]] void shutdown_now(ShutdownKind kind) noexcept;
/// Run by shutdown_now() in thread context: file systems flush here.
void register_shutdown_hook(void (*hook)()) noexcept;

/// Raw output to the hypervisor's console (dom0) or the domU's console ring, without a tty.
void console_write(const char* text, std::size_t size) noexcept;

} // namespace kernel
