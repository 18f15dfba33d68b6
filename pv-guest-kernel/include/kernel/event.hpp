// SPDX-License-Identifier: BSD-2-Clause
// Event channels: the interrupts of a PV domain.
#pragma once

#include <kernel/types.hpp>

namespace kernel::event {

using Port = std::uint32_t;
/// Event context, with event delivery masked: short, never sleeps. The port's pending bit is
/// already clear.
using Handler = void (*)(Port port, void* context);

/// A new port that `remote` may bind to. Masked until set_handler().
[[nodiscard]] Result<Port> alloc_unbound(DomainId remote) noexcept;
[[nodiscard]] Result<Port> bind_interdomain(DomainId remote, Port remote_port) noexcept;
[[nodiscard]] Result<Port> bind_virq(std::uint32_t virq) noexcept;
[[nodiscard]] Result<Port> bind_pirq(std::uint32_t pirq, bool shareable) noexcept;

/// Sets the handler and unmasks the port.
void set_handler(Port port, Handler handler, void* context) noexcept;
/// As set_handler(), for a port whose events another domain makes at will: when threads want the
/// CPU and the events of all guests had their share of it, the handler waits for the next window.
/// docs/architecture/fairness.md.
void set_guest_handler(Port port, Handler handler, void* context) noexcept;
/// As set_handler(), and leaves the port masked (user-space event devices unmask when they have
/// read).
void set_handler_masked(Port port, Handler handler, void* context) noexcept;
void notify(Port port) noexcept;
/// Makes the port of this domain pending: its handler runs again, after the other ports that are
/// pending. Any context.
void raise(Port port) noexcept;
void mask(Port port) noexcept;
/// Unmasks and delivers what came in while masked.
void unmask(Port port) noexcept;
[[nodiscard]] bool is_pending(Port port) noexcept;
void clear_pending(Port port) noexcept;
/// Removes the handler and closes the port.
void close(Port port) noexcept;

} // namespace kernel::event
