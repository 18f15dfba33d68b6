// SPDX-License-Identifier: BSD-2-Clause
// Advisory locks: POSIX record locks (owned by a descriptor table) and flock (owned by an open
// file).
#pragma once

#include <kernel/file.hpp>

#include <cstdint>

namespace kernel::file_locks {

enum class Kind : std::uint8_t { read, write, none };

struct Record {
    std::uint64_t start;
    std::uint64_t end; ///< inclusive; ~0: to the end of the file
    Kind kind;
    int pid;
};

/// Sets or clears a range. `owner` is the FdTable (POSIX) or the File (flock); again: held by
/// others.
Status set(Inode& inode, const void* owner, const Record& record, bool wait) noexcept;
/// The first record of another owner that conflicts; kind none if there is none.
Record find_conflict(Inode& inode, const void* owner, const Record& wanted) noexcept;

void drop_process(Inode& inode, FdTable& table) noexcept;
void drop_open_file(Inode& inode, File& file) noexcept;

} // namespace kernel::file_locks
