// SPDX-License-Identifier: BSD-2-Clause
// What this machine's ACPI tables say; filled once at boot.
#pragma once

#include <platform/acpi/tables.hpp>

namespace cero::platform {

[[nodiscard]] const AcpiInfo& acpi_info() noexcept;

} // namespace cero::platform
