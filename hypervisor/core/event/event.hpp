// SPDX-License-Identifier: BSD-2-Clause
// Raising events, and what the operations on event channels need of it.
#pragma once

#include <core/domain/domain.hpp>

namespace cero::event {

/// Raises the VIRQ of a vCPU if it is bound. From any context, no event lock held.
void raise_virq(Vcpu& vcpu, std::uint32_t virq);
/// Raises a global VIRQ of a domain if it is bound.
void raise_global_virq(Domain& domain, std::uint32_t virq);
/// Raises a VIRQ that concerns the machine at the control domain.
void raise_host_virq(std::uint32_t virq);
/// A physical interrupt arrived. False when the domain has not bound the pirq.
bool raise_pirq(Domain& domain, Pirq pirq);
/// Marks the vCPU pending and wakes it; its vcpu_info says which ports.
void mark_pending(Vcpu& vcpu);

/// Makes a port pending, by the rules of the 2-level ABI, at the vCPU that it is bound to. The port
/// was below the limit when it was bound.
void raise_port(Domain& domain, std::uint32_t port);
/// The same for who has looked the channel up.
void raise_channel(Domain& domain, std::uint32_t port, const EventChannel& channel);
/// Clears the port's mask and raises it again if it was pending. inval: no such port.
Status unmask(Domain& domain, std::uint32_t port);
[[nodiscard]] bool is_pending(const Domain& domain, std::uint32_t port) noexcept;
void clear_pending(Domain& domain, std::uint32_t port) noexcept;
/// Index in Vcpu::virq_port, or -1 for a VIRQ that is one per domain.
[[nodiscard]] int vcpu_virq_index(std::uint32_t virq) noexcept;

/// Closes all ports; bounded work per call: restart when there is more to do.
Status close_all(Domain& domain);
/// Frees the memory of the table. All ports are closed.
void destroy(Domain& domain);

} // namespace cero::event
