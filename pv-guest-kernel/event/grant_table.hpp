// SPDX-License-Identifier: BSD-2-Clause
// Set-up of the grant table.
#pragma once

namespace kernel {

void init_grants() noexcept;

} // namespace kernel
