// SPDX-License-Identifier: BSD-2-Clause
// Path walk: components, "..", mounts and symbolic links.
#include "path_walk.hpp"
#include "dentry_cache.hpp"
#include "mount_table.hpp"
#include <kernel/memory.hpp>

#include <cstring>

namespace kernel::path_walk {

namespace {

/// Takes the next component off `rest`; empty at the end.
std::string_view take_component(std::string_view& rest) noexcept {
    while (!rest.empty() && rest.front() == '/')
        rest.remove_prefix(1);
    std::size_t length = 0;
    while (length < rest.size() && rest[length] != '/')
        ++length;
    const std::string_view component{rest.data(), length};
    rest.remove_prefix(length);
    return component;
}

bool only_slashes(std::string_view text) noexcept {
    for (const char c : text)
        if (c != '/')
            return false;
    return true;
}

Path start_of(std::string_view path, const Path* at) noexcept {
    FsContext& fs = current_fs();
    if (!path.empty() && path.front() == '/')
        return fs.root.clone();
    return at != nullptr ? at->clone() : fs.cwd.clone();
}

Path up(Path here) noexcept {
    const FsContext& fs = current_fs();
    for (;;) {
        if (here.mount.get() == fs.root.mount.get() && here.dentry.get() == fs.root.dentry.get())
            return here;
        if (here.dentry.get() != here.mount->root.get())
            break;
        if (!here.mount->parent)
            return here;
        here = Path{here.mount->parent.clone(), here.mount->mount_point.clone()};
    }
    Dentry* above = here.dentry->parent();
    if (above == nullptr)
        return here;
    Path parent_path{here.mount.clone(), Ref<Dentry>::share(above)};
    MountTable::descend(parent_path);
    return parent_path;
}

/// A heap buffer for a link's text; symbolic links nest, the kernel stack is small.
class LinkText {
public:
    LinkText() noexcept : text_{static_cast<char*>(kmalloc(max_path))} {}
    ~LinkText() { kfree(text_); }
    LinkText(const LinkText&) = delete;
    LinkText& operator=(const LinkText&) = delete;
    [[nodiscard]] char* data() noexcept { return text_; }

private:
    char* text_;
};

} // namespace

Result<Path> child(const Path& directory, std::string_view name) noexcept {
    Inode& inode = *directory.inode();
    if (!inode.is_directory())
        return Errno::notdir;
    TRY(vfs::check_access(inode, 1));
    if (name == ".")
        return directory.clone();
    if (name == "..")
        return up(directory.clone());
    if (name.size() > max_name)
        return Errno::nametoolong;
    auto dentry = TRY(DentryCache::lookup(*directory.dentry, name));
    Path below{directory.mount.clone(), std::move(dentry)};
    MountTable::descend(below);
    return below;
}

Result<Path> follow(Walk& state, const Path& directory, const Path& link,
                    LookupFlags flags) noexcept {
    if (++state.links > max_links)
        return Errno::loop;
    auto magic = link.inode()->follow_magic();
    if (magic)
        return std::move(*magic);
    if (magic.error() != Errno::inval)
        return magic.error();
    LinkText text;
    if (text.data() == nullptr)
        return Errno::nomem;
    const std::size_t length = TRY(link.inode()->read_link(text.data(), max_path));
    return walk(state, {text.data(), length}, &directory, flags);
}

Result<Path> walk(Walk& state, std::string_view path, const Path* at, LookupFlags flags) noexcept {
    if (path.empty())
        return Errno::noent;
    if (path.size() >= max_path)
        return Errno::nametoolong;
    Path here = start_of(path, at);
    std::string_view rest = path;
    for (;;) {
        const std::string_view name = take_component(rest);
        if (name.empty())
            break;
        const bool last = only_slashes(rest);
        const bool must_be_directory = !last || !rest.empty() || flags.want_directory;
        Path next = TRY(child(here, name));
        if (next.inode()->is_symlink() && (!last || flags.follow_last || !rest.empty()))
            next = TRY(follow(state, here, next, {.want_directory = must_be_directory}));
        if (must_be_directory && !next.inode()->is_directory())
            return Errno::notdir;
        here = std::move(next);
    }
    return here;
}

Result<Place> parent(Walk& state, std::string_view path, const Path* at) noexcept {
    if (path.empty())
        return Errno::noent;
    if (path.size() >= max_path)
        return Errno::nametoolong;
    std::size_t end = path.size();
    while (end != 0 && path[end - 1] == '/')
        --end;
    std::size_t begin = end;
    while (begin != 0 && path[begin - 1] != '/')
        --begin;
    Place place;
    place.name = {path.data() + begin, end - begin};
    place.trailing_slash = end != path.size();
    if (place.name.size() > max_name)
        return Errno::nametoolong;
    if (begin == 0) {
        place.directory = start_of(path, at);
    } else {
        place.directory = TRY(walk(state, {path.data(), begin}, at, {.want_directory = true}));
    }
    if (place.name.empty())
        place.name = ".";
    if (!place.directory.inode()->is_directory())
        return Errno::notdir;
    return place;
}

} // namespace kernel::path_walk
