// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as the initial RAM disk of our kernel. Its file system must stand it,
// whatever is in it.
#include <fs/tests/cpio_member.hpp>
#include <fs/tests/host_kernel.hpp>
#include <fs/vfs_operations.hpp>
#include <fuzz/target.hpp>

cero::fuzz::Seed cero::fuzz::make_seed() {
    using host::cpio_member;
    return {cpio_member("bin", 040755, "", 1, 2) + cpio_member("bin/sh", 0100755, "program", 7, 2) +
            cpio_member("bin/ls", 0100755, "", 7, 2) + cpio_member("lnk", 0120777, "bin/sh", 8, 1) +
            cpio_member("con", 020600, "", 9, 1) + cpio_member("TRAILER!!!", 0, "", 0, 1)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    host::start();
    static_cast<void>(kernel::vfs::unpack_initramfs(data, size));
    return 0;
}
