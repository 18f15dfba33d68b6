// SPDX-License-Identifier: BSD-2-Clause
// Path walk: from a name to a Path, or to the directory that holds its last component.
#pragma once

#include <kernel/vfs.hpp>

namespace kernel::path_walk {

inline constexpr std::size_t max_path = 4096;
inline constexpr std::size_t max_name = 255;
inline constexpr unsigned max_links = 40;

/// A directory and a name in it. `name` points into the text that was walked.
struct Place {
    Path directory;
    std::string_view name; ///< "." for paths that end in "/", "." or ".."
    bool trailing_slash{};
};

struct Walk {
    unsigned links{}; ///< symbolic links followed so far
};

Result<Path> walk(Walk& state, std::string_view path, const Path* at, LookupFlags flags) noexcept;
Result<Place> parent(Walk& state, std::string_view path, const Path* at) noexcept;
/// One step down from a directory, mounts followed, symbolic links not.
Result<Path> child(const Path& directory, std::string_view name) noexcept;
/// Where the symbolic link `link`, found in `directory`, leads.
Result<Path> follow(Walk& state, const Path& directory, const Path& link,
                    LookupFlags flags) noexcept;

} // namespace kernel::path_walk
