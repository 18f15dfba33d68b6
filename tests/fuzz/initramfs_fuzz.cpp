// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as the initial RAM disk of our kernel. Its file system must stand it,
// whatever is in it.
#include <fs/tests/host_kernel.hpp>
#include <fs/vfs_operations.hpp>
#include <fuzz/target.hpp>

#include <cstdio>

namespace {

std::string member(const std::string& name, unsigned mode, const std::string& body, unsigned inode,
                   unsigned links) {
    char header[111];
    std::snprintf(header, sizeof header,
                  "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, mode, 0U, 0U,
                  links, 0U, static_cast<unsigned>(body.size()), 0U, 0U, 5U, 1U,
                  static_cast<unsigned>(name.size() + 1), 0U);
    std::string out = header + name + '\0';
    out.resize((out.size() + 3) / 4 * 4);
    out += body;
    out.resize((out.size() + 3) / 4 * 4);
    return out;
}

} // namespace

std::string cero::fuzz::make_seed() {
    return member("bin", 040755, "", 1, 2) + member("bin/sh", 0100755, "program", 7, 2) +
           member("bin/ls", 0100755, "", 7, 2) + member("lnk", 0120777, "bin/sh", 8, 1) +
           member("con", 020600, "", 9, 1) + member("TRAILER!!!", 0, "", 0, 1);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    host::start();
    static_cast<void>(kernel::vfs::unpack_initramfs(data, size));
    return 0;
}
