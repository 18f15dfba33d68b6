// SPDX-License-Identifier: BSD-2-Clause
// The console service's clients: attaching a terminal, printing the history.
#pragma once

#include <cstddef>
#include <string>

namespace cero::console {

/// Joins this process' standard input and output with a guest's console until Ctrl-], the end of
/// the guest, or `timeout_ms` of silence (-1: none). Throws Error when it cannot be attached.
void attach(const std::string& domain, std::size_t replay_bytes, int timeout_ms);
/// Prints what the service has kept.
void print_history(const std::string& domain);

} // namespace cero::console
