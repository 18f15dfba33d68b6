// SPDX-License-Identifier: BSD-2-Clause
// What a guest is told about its CPU: CPUID [D.8], model-specific registers [D.9], ports.
#pragma once

#include <arch/x86_64/cpu/registers.hpp>
#include <core/types.hpp>

namespace cero::arch {

[[nodiscard]] CpuidResult guest_cpuid(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf) noexcept;
/// Current vCPU. False: #GP.
[[nodiscard]] bool guest_read_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t& value) noexcept;
[[nodiscard]] bool guest_write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept;
/// Ports that are not the guest's read as all ones and swallow writes.
[[nodiscard]] std::uint32_t guest_read_port(const Vcpu& vcpu, std::uint16_t port, unsigned bytes) noexcept;
void guest_write_port(const Vcpu& vcpu, std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept;

} // namespace cero::arch
