// SPDX-License-Identifier: BSD-2-Clause
// Start-up of the file-system layer: types, the root mount, the devices that need no driver.
#include "block_node.hpp"
#include "char_device.hpp"
#include "ext2/ext2.hpp"
#include "mem_devices.hpp"
#include "page_cache.hpp"
#include "tmpfs.hpp"
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/vfs.hpp>

namespace kernel {

namespace {

void initialize_file_systems() {
    page_cache::initialize();
    tmpfs::initialize();
    char_device::initialize();
    ext2::initialize();
    if (auto status = vfs::mount_root(); !status)
        panic("cannot mount the root file system: error %d", static_cast<int>(status.error()));
    mem_devices::initialize();
}
CERO_INITCALL(subsys, initialize_file_systems);

void follow_disks() {
    block_node::initialize();
}
CERO_INITCALL(fs, follow_disks);

} // namespace
} // namespace kernel
