// SPDX-License-Identifier: BSD-2-Clause
// Generated file systems: inodes made of (table row, key) pairs on each lookup.
#include "generated.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

#include <new>

namespace kernel::generated {

namespace {

constexpr std::uint64_t dynamic_base = 4096; ///< directory positions of dynamic children

class GeneratedInode;

class GeneratedSuperblock final : public Superblock {
public:
    explicit GeneratedSuperblock(std::uint64_t magic) noexcept : magic_{magic} {}
    Inode& root() noexcept override { return *root_; }
    FileSystemStatistics statistics() noexcept override {
        FileSystemStatistics out;
        out.type = magic_;
        return out;
    }
    void shut_down() noexcept override { root_ = nullptr; }
    void set_root(Ref<Inode> root) noexcept { root_ = std::move(root); }

private:
    ~GeneratedSuperblock() override = default;
    std::uint64_t magic_;
    Ref<Inode> root_;
};

/// Contents of one open file.
struct Contents {
    Text text;
    bool made{};
};

class FileOperations final : public FileOps {
public:
    Status open(File& file) noexcept override {
        file.data = new (std::nothrow) Contents;
        return file.data == nullptr ? Status{Errno::nomem} : Status{};
    }
    void release(File& file) noexcept override { delete static_cast<Contents*>(file.data); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override;
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t offset) noexcept override;
    [[nodiscard]] bool is_seekable(const File&) const noexcept override { return true; }
};
FileOperations file_operations;

class DirectoryOperations final : public FileOps {
public:
    Result<std::size_t> read(File&, IoBuffer&, std::uint64_t) noexcept override {
        return Errno::isdir;
    }
    Status read_directory(File& file, DirectorySink& sink) noexcept override;
    [[nodiscard]] bool is_seekable(const File&) const noexcept override { return true; }
};
DirectoryOperations directory_operations;

std::uint64_t number_of(const Node& node, const Key& key) noexcept {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(&node) >> 3U;
    hash = (hash ^ static_cast<std::uint64_t>(key.pid)) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ key.item) * 0xc2b2ae3d27d4eb4fU;
    return (hash >> 16U) | 1U;
}

class GeneratedInode final : public Inode {
public:
    GeneratedInode(Superblock& sb, const Node& node, Key key) noexcept
        : Inode{sb}, node_{node}, key_{key} {
        mode = node.mode;
        number = number_of(node, key);
        atime = mtime = ctime = wall_ns();
        link_count = is_directory() ? 2 : 1;
        refresh();
    }
    Result<Ref<Inode>> lookup(std::string_view name) noexcept override {
        for (const Node* child : node_.children)
            if (name == child->name)
                return make_child(*child, key_);
        DynamicChild child;
        if (node_.find != nullptr)
            return node_.find(key_, name, child) ? make_child(*child.node, child.key)
                                                 : Result<Ref<Inode>>{Errno::noent};
        std::uint64_t cookie = 0;
        if (node_.next != nullptr)
            while (node_.next(key_, cookie, child))
                if (name == child.name)
                    return make_child(*child.node, child.key);
        return Errno::noent;
    }
    Result<std::size_t> read_link(char* out, std::size_t room) noexcept override {
        return node_.link_text == nullptr ? Result<std::size_t>{Errno::inval}
                                          : node_.link_text(key_, out, room);
    }
    Result<Path> follow_magic() noexcept override {
        return node_.link_path == nullptr ? Result<Path>{Errno::inval} : node_.link_path(key_);
    }
    Status change(const AttributeChange& change) noexcept override {
        return (change.valid & AttributeChange::set_size) != 0 ? Status{} : Status{Errno::perm};
    }
    void refresh() noexcept override {
        if (node_.owner != nullptr)
            node_.owner(key_, uid, gid);
    }
    FileOps& file_ops() noexcept override {
        if (node_.operations != nullptr)
            if (FileOps* ops = node_.operations())
                return *ops;
        return is_directory() ? static_cast<FileOps&>(directory_operations) : file_operations;
    }
    [[nodiscard]] bool names_are_stable() const noexcept override { return false; }
    [[nodiscard]] const Node& node() const noexcept { return node_; }
    [[nodiscard]] Key key() const noexcept { return key_; }

private:
    Result<Ref<Inode>> make_child(const Node& node, Key key) noexcept {
        auto* inode = new (std::nothrow) GeneratedInode{superblock, node, key};
        if (inode == nullptr)
            return Errno::nomem;
        return Ref<Inode>::adopt(inode);
    }
    const Node& node_;
    Key key_;
};

GeneratedInode& inode_of(File& file) noexcept {
    return static_cast<GeneratedInode&>(*file.inode);
}

Result<std::size_t> FileOperations::read(File& file, IoBuffer& buffer,
                                         std::uint64_t offset) noexcept {
    GeneratedInode& inode = inode_of(file);
    auto& contents = *static_cast<Contents*>(file.data);
    if (inode.node().generate == nullptr)
        return Errno::inval;
    if (offset == 0 || !contents.made) { // a fresh reading begins
        contents.text.clear();
        inode.node().generate(contents.text, inode.key());
        contents.made = true;
    }
    if (contents.text.failed())
        return Errno::nomem;
    // Opened while the process lived: programs take an empty file for one that has all its fields.
    if (contents.text.size() == 0 && inode.key().pid != 0 && !process_info(inode.key().pid))
        return Errno::srch;
    if (offset >= contents.text.size())
        return std::size_t{0};
    return buffer.put(contents.text.data() + offset, contents.text.size() - offset);
}

Result<std::size_t> FileOperations::write(File& file, IoBuffer& buffer, std::uint64_t) noexcept {
    GeneratedInode& inode = inode_of(file);
    if (inode.node().store == nullptr)
        return Errno::acces;
    char text[256];
    std::size_t length = TRY(buffer.get(text, sizeof(text)));
    const std::size_t taken = length;
    while (length != 0 && (text[length - 1] == '\n' || text[length - 1] == 0))
        --length;
    TRY(inode.node().store({text, length}, inode.key()));
    return taken;
}

Status DirectoryOperations::read_directory(File& file, DirectorySink& sink) noexcept {
    GeneratedInode& directory = inode_of(file);
    const Node& node = directory.node();
    constexpr std::uint8_t directory_type = 4;
    for (; file.position < 2; ++file.position)
        if (!sink.entry("..", file.position + 1, directory.number, directory_type,
                        file.position + 1))
            return {};
    while (file.position - 2 < node.children.size()) {
        const Node& child = *node.children[file.position - 2];
        if (!sink.entry(child.name, std::strlen(child.name), number_of(child, directory.key()),
                        static_cast<std::uint8_t>(child.mode >> 12U), file.position + 1))
            return {};
        ++file.position;
    }
    if (node.next == nullptr)
        return {};
    if (file.position < dynamic_base)
        file.position = dynamic_base;
    for (;;) {
        std::uint64_t cookie = file.position - dynamic_base;
        DynamicChild child;
        if (!node.next(directory.key(), cookie, child))
            return {};
        if (!sink.entry(child.name, std::strlen(child.name), number_of(*child.node, child.key),
                        static_cast<std::uint8_t>(child.node->mode >> 12U), dynamic_base + cookie))
            return {};
        file.position = dynamic_base + cookie;
    }
}

} // namespace

Result<Ref<Superblock>> make(const char* type, std::uint64_t magic, const Node& root) noexcept {
    auto* sb = new (std::nothrow) GeneratedSuperblock{magic};
    if (sb == nullptr)
        return Errno::nomem;
    auto owner = Ref<Superblock>::adopt(sb);
    auto* inode = new (std::nothrow) GeneratedInode{*sb, root, Key{}};
    if (inode == nullptr)
        return Errno::nomem;
    sb->type_name = type;
    sb->set_root(Ref<Inode>::adopt(inode));
    return owner;
}

} // namespace kernel::generated
