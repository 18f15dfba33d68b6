// SPDX-License-Identifier: BSD-2-Clause
// VFS operations used inside the file-system layer only (system calls, sockets, procfs).
#pragma once

#include <kernel/vfs.hpp>

namespace kernel {

/// Sets the attributes named in `change` except the size, and the change time.
void apply_attributes(Inode& inode, const AttributeChange& change) noexcept;

namespace vfs {

/// Opens what is already found; checks no permissions.
Result<Ref<File>> open_path(Path path, std::uint32_t flags) noexcept;
Result<Path> make_socket_node(std::string_view name, std::uint32_t permissions) noexcept;
Status make_link(const Path& from, std::string_view name, const Path* at) noexcept;
Status remove(std::string_view name, const Path* at, bool directory_wanted) noexcept;
Status rename(std::string_view old_name, const Path* old_at, std::string_view new_name,
              const Path* new_at, std::uint32_t flags) noexcept;
Status set_attributes(const Path& path, AttributeChange change) noexcept;
Status truncate(Inode& inode, std::uint64_t size) noexcept;
/// rofs for what is mounted read-only.
Status check_writable(const Path& path) noexcept;
Status check_access_as(Inode& inode, std::uint32_t wanted, std::uint32_t uid,
                       const Credentials& who) noexcept;

} // namespace vfs
} // namespace kernel
