// SPDX-License-Identifier: BSD-2-Clause
// The registry behind kernel/device.hpp, and the devtmpfs in which registered devices appear.
#pragma once

#include <kernel/device.hpp>

namespace kernel::char_device {

Status find(DeviceNumber number, FileOps*& ops, void*& context) noexcept;
Status find_block(DeviceNumber number, FileOps*& ops, void*& context) noexcept;

/// Block devices share the registry and the tree.
Status add_block(const char* name, DeviceNumber number, FileOps& ops, void* context) noexcept;
void remove_block(DeviceNumber number) noexcept;

/// Adds a symbolic link to /dev.
Status add_link(const char* name, const char* target) noexcept;
void initialize() noexcept;

} // namespace kernel::char_device
