// SPDX-License-Identifier: BSD-2-Clause
// Block device nodes: /dev entries for registered disks, and the page cache of each.
#pragma once

#include "page_cache.hpp"
#include <cero/driver/block.hpp>
#include <kernel/vfs.hpp>

namespace kernel::block_node {

struct Info {
    char name[drivers::BlockDevice::name_size];
    DeviceNumber number;
    std::uint64_t sectors;
    bool read_only;
};
/// The index-th disk or partition, for listings.
bool at(std::size_t index, Info& info) noexcept;

/// Starts to follow the drivers' registry.
void initialize() noexcept;

/// A disk opened by a file system: its claim, and its cache for metadata.
struct Opened {
    drivers::BlockHandle handle;
    Ref<Inode> inode;
    DeviceNumber number;
    [[nodiscard]] PageCache& cache() const noexcept { return *inode->page_cache(); }
};
/// `source` is a path ("/dev/xvda1").
Result<Opened> open(const char* source, bool read_only) noexcept;
Result<Opened> open_device(DeviceNumber number, bool read_only) noexcept;

} // namespace kernel::block_node
