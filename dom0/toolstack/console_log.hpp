// SPDX-License-Identifier: BSD-2-Clause
// The last words of a domain that is about to go.
#pragma once

#include <cero/abi/types.h>

namespace cero::toolstack {

/// Has the console service take what the domain has written, and returns when it is in the log. To
/// be called before the domain's nodes and frames go: one that ends within milliseconds may not
/// have been noticed yet. Waits five seconds at most; without a service there is no log to wait
/// for.
void save_console(cero_domid domain) noexcept;

} // namespace cero::toolstack
