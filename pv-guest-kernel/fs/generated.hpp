// SPDX-License-Identifier: BSD-2-Clause
// Generated file systems (proc, sysfs): trees of tables whose files are made when they are read.
#pragma once

#include "text.hpp"
#include <kernel/vfs.hpp>

#include <span>

namespace kernel::generated {

/// Which instance of a node: a process, a descriptor of it, an interface ...
struct Key {
    int pid{};
    std::uint64_t item{};
};

struct Node;

/// A child that is not in a table. `name` has room for 64 bytes.
struct DynamicChild {
    char name[64];
    const Node* node;
    Key key;
};

struct Node {
    const char* name;
    std::uint32_t mode; ///< with the type
    /// File: the whole contents.
    void (*generate)(Text& out, Key key) noexcept {};
    /// File: accepts what is written.
    Status (*store)(std::string_view text, Key key) noexcept {};
    /// Link: its text, or where it leads directly.
    Result<std::size_t> (*link_text)(Key key, char* out, std::size_t size) noexcept {};
    Result<Path> (*link_path)(Key key) noexcept {};
    /// Directory: fixed children, then those that `next` finds. `cookie` is 0 at first.
    std::span<const Node* const> children{};
    bool (*next)(Key key, std::uint64_t& cookie, DynamicChild& child) noexcept {};
    /// Directory: finds one by name without listing. Optional.
    bool (*find)(Key key, std::string_view name, DynamicChild& child) noexcept {};
    /// Behaviour of an open, instead of generate (kmsg).
    FileOps* (*operations)() noexcept {};
    /// Owner of the instance.
    void (*owner)(Key key, std::uint32_t& uid, std::uint32_t& gid) noexcept {};
};

inline constexpr std::uint32_t directory_mode = mode::directory | 0555U;
inline constexpr std::uint32_t file_mode = mode::regular | 0444U;
inline constexpr std::uint32_t writable_mode = mode::regular | 0644U;
inline constexpr std::uint32_t link_mode = mode::symlink | 0777U;

Result<Ref<Superblock>> make(const char* type, std::uint64_t magic, const Node& root) noexcept;

/// A type whose every mount shows the same tree.
class Type final : public FileSystemType {
public:
    constexpr Type(const char* type, std::uint64_t magic, const Node& root) noexcept
        : FileSystemType{type, false}, magic_{magic}, root_{root} {}
    Result<Ref<Superblock>> mount(const char*, std::uint32_t, const char*) noexcept override {
        return make(name, magic_, root_);
    }

private:
    std::uint64_t magic_;
    const Node& root_;
};

} // namespace kernel::generated
