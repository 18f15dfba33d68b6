// SPDX-License-Identifier: BSD-2-Clause
// MountTable: which file system is attached where.
#pragma once

#include <kernel/vfs.hpp>

namespace kernel {

/// Guarded by nothing but its single writers' discipline: changes happen under `lock`.
struct MountTable {
    using List = cero::IntrusiveList<Mount, &Mount::all_link>;
    Spinlock lock;
    List all;
    Ref<Mount> root;

    static MountTable& instance() noexcept;
    /// The mount on top of (mount, dentry), or null.
    static Ref<Mount> find(const Mount& parent, const Dentry& point) noexcept;
    /// Follows mounts stacked on `path`.
    static void descend(Path& path) noexcept;
    static Status attach(Ref<Mount> mount, Path point) noexcept;
    static void detach(Mount& mount) noexcept;
};

} // namespace kernel
