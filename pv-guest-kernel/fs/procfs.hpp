// SPDX-License-Identifier: BSD-2-Clause
// procfs: pieces that other parts of the kernel add to it.
#pragma once

#include "generated.hpp"
#include <kernel/types.hpp>

namespace kernel::procfs {

/// Kernel ticks are hundredths of a second in this ABI.
constexpr unsigned long long ticks(Nanoseconds t) noexcept {
    return t / (ns_per_s / 100);
}

/// Adds /proc/net/<node.name>. The node lives for ever.
void add_net_file(const generated::Node& node) noexcept;
extern const generated::Node process_directory;
bool next_process_entry(generated::Key key, std::uint64_t& cookie,
                        generated::DynamicChild& child) noexcept;
bool find_process_entry(generated::Key key, std::string_view name,
                        generated::DynamicChild& child) noexcept;
/// The architecture's part.
void generate_cpuinfo(Text& out, generated::Key key) noexcept;
/// The list of mounts in the format of /proc/mounts.
void generate_mounts(Text& out, generated::Key key) noexcept;

} // namespace kernel::procfs
