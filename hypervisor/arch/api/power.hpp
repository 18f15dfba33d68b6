// SPDX-License-Identifier: BSD-2-Clause
// Power off and reset.
#pragma once

#include <core/types.hpp>

namespace cero::arch {

[[noreturn]] void power_off() noexcept;
[[noreturn]] void reboot() noexcept;

} // namespace cero::arch
