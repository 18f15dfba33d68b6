// SPDX-License-Identifier: BSD-2-Clause
// Shared by the files of the event subsystem, and by poll.
#pragma once

#include <arch/api/memory.hpp>
#include <core/domain/domain.hpp>
#include <core/event/event.hpp>

namespace cero::event {

/// Makes a port pending at a vCPU, by the rules of the 2-level ABI.
void signal(Domain& domain, std::uint32_t port, Vcpu& vcpu);
/// signal() at the vCPU that the port is bound to. The port was below the limit when it was bound.
void raise_port(Domain& domain, std::uint32_t port);
void unmask(Domain& domain, std::uint32_t port, Vcpu& vcpu);
[[nodiscard]] bool is_pending(const Domain& domain, std::uint32_t port) noexcept;
void clear_pending(Domain& domain, std::uint32_t port) noexcept;
/// Index in Vcpu::virq_port, or -1 for a VIRQ that is one per domain.
[[nodiscard]] int vcpu_virq_index(std::uint32_t virq) noexcept;
/// Closes one port whatever its state; the binding lock is taken inside.
void close_port(Domain& domain, std::uint32_t port);

} // namespace cero::event
