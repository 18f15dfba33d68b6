// SPDX-License-Identifier: BSD-2-Clause
// Device nodes: registering one makes it appear in /dev and be found by its number.
#pragma once

#include <kernel/file.hpp>
#include <kernel/vfs.hpp>

#include <cstdint>

namespace kernel {

/// `name` may hold slashes ("xen/privcmd"); it is copied. `context` becomes File::data before
/// ops.open(). The node exists in every devfs, mounted now or later, with permissions
/// `permissions`.
Status register_char_device(const char* name, std::uint32_t major, std::uint32_t minor,
                            FileOps& ops, void* context = nullptr,
                            std::uint32_t permissions = 0600) noexcept;
Status unregister_char_device(std::uint32_t major, std::uint32_t minor) noexcept;

/// Disks need no call: what drivers add to drivers::BlockRegistry appears as /dev/<name> by itself.

inline constexpr std::uint32_t misc_major = 10;
/// A misc device with any minor, for drivers that do not care. A failure is written to the log.
void register_misc_device(const char* name, FileOps& ops) noexcept;

} // namespace kernel
