// SPDX-License-Identifier: BSD-2-Clause
// Start-up of the file-system layer: types, the root mount, the devices that need no driver.
#include "char_device.hpp"
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
    if (auto status = vfs::mount_root(); !status)
        panic("cannot mount the root file system: error %d", static_cast<int>(status.error()));
    mem_devices::initialize();
}
CERO_INITCALL(subsys, initialize_file_systems);

} // namespace
} // namespace kernel
