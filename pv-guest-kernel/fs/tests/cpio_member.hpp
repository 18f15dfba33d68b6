// SPDX-License-Identifier: BSD-2-Clause
// Archives as an initial RAM disk has them, made file by file.
#pragma once

#include <cstdio>
#include <string>

namespace host {

/// A file of a "newc" archive; a device is number 5, 1.
inline std::string cpio_member(const std::string& name, unsigned mode, const std::string& body,
                               unsigned inode = 1, unsigned links = 1) {
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

} // namespace host
