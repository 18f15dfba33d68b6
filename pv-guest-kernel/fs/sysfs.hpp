// SPDX-License-Identifier: BSD-2-Clause
// sysfs: pieces that other parts of the kernel add to it.
#pragma once

#include "generated.hpp"

namespace kernel::sysfs {

using ClassEntries = bool (*)(generated::Key key, std::uint64_t& cookie,
                              generated::DynamicChild& child) noexcept;
/// Supplies the entries of /sys/class/net.
void set_network_entries(ClassEntries entries) noexcept;

} // namespace kernel::sysfs
