// SPDX-License-Identifier: BSD-2-Clause
// tmpfs: files that live in the page cache only. Also the root file system, /dev and memfd.
#pragma once

#include <kernel/vfs.hpp>

namespace kernel::tmpfs {

/// A fresh instance with a root directory of mode 0755.
Result<Ref<Superblock>> make(const char* type_name) noexcept;
/// A regular file that has no name (memfd).
Result<Ref<Inode>> make_unnamed_file(std::uint32_t permissions) noexcept;
void initialize() noexcept;

} // namespace kernel::tmpfs
