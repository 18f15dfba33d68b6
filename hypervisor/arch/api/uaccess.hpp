// SPDX-License-Identifier: BSD-2-Clause
// The only doors into guest memory through the current address space. Each returns false when the
// range touches the hypervisor's hole or an access faults; what was copied before a fault stays.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

[[nodiscard]] bool copy_from_guest(void* to, GuestVirt from, std::size_t bytes) noexcept;
[[nodiscard]] bool copy_to_guest(GuestVirt to, const void* from, std::size_t bytes) noexcept;
[[nodiscard]] bool clear_guest(GuestVirt to, std::size_t bytes) noexcept;

} // namespace cero::arch
