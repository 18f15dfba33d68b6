// SPDX-License-Identifier: BSD-2-Clause
// Unpacks the initial RAM disk: one or more uncompressed "newc" archives.
#include "vfs_operations.hpp"
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/time.hpp>

#include <cstring>

namespace kernel::vfs {

namespace {

constexpr std::size_t header_size = 110;
constexpr std::size_t align(std::size_t n) noexcept {
    return (n + 3) & ~std::size_t{3};
}

struct Header {
    std::uint32_t inode, mode, uid, gid, links, time, size, major, minor, device_major,
        device_minor, name_size, check;
};

bool parse_header(const char* at, Header& header) noexcept {
    if (std::memcmp(at, "070701", 6) != 0 && std::memcmp(at, "070702", 6) != 0)
        return false;
    std::uint32_t fields[13];
    at += 6;
    for (std::uint32_t& field : fields) {
        field = 0;
        for (int digit = 0; digit < 8; ++digit, ++at) {
            const char c = *at;
            unsigned value = 0;
            if (c >= '0' && c <= '9')
                value = static_cast<unsigned>(c - '0');
            else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                value = static_cast<unsigned>((c | 0x20) - 'a' + 10);
            else
                return false;
            field = field << 4U | value;
        }
    }
    header = {fields[0], fields[1], fields[2], fields[3],  fields[4],  fields[5], fields[6],
              fields[7], fields[8], fields[9], fields[10], fields[11], fields[12]};
    return true;
}

/// Names of inodes with several links, so that later members can be linked to the first.
struct LinkNote {
    std::uint32_t inode;
    const char* name; ///< in the archive
    LinkNote* next;
};

class Unpacker {
public:
    Unpacker() noexcept = default;
    ~Unpacker() { forget_links(); }
    Unpacker(const Unpacker&) = delete;
    Unpacker& operator=(const Unpacker&) = delete;

    Status run(const char* data, std::size_t size) noexcept {
        std::size_t at = 0;
        while (at + header_size <= size) {
            if (data[at] == 0) { // padding between archives
                ++at;
                continue;
            }
            Header header;
            if (!parse_header(data + at, header)) {
                printk(Level::error,
                       "initramfs: no cpio header at offset %zu; the archive must be an "
                       "uncompressed newc archive\n",
                       at);
                return Errno::inval;
            }
            const std::size_t body = align(at + header_size + header.name_size);
            if (header.name_size == 0 || body > size || header.size > size - body) {
                printk(Level::error, "initramfs: truncated at offset %zu\n", at);
                return Errno::io;
            }
            const char* name = data + at + header_size;
            if (name[header.name_size - 1] != 0)
                return Errno::inval;
            at = align(body + header.size);
            if (std::strcmp(name, "TRAILER!!!") == 0) {
                forget_links();
                continue;
            }
            if (auto status = member(header, name, data + body); !status)
                printk(Level::warning, "initramfs: cannot unpack %s: error %d\n", name,
                       static_cast<int>(status.error()));
        }
        return {};
    }

private:
    Status member(const Header& header, const char* name, const char* body) noexcept {
        while (*name == '/' || (name[0] == '.' && name[1] == '/'))
            ++name;
        if (*name == 0)
            return {};
        const std::string_view path{name};
        switch (header.mode & mode::type_mask) {
        case mode::directory: {
            if (std::strcmp(name, ".") == 0)
                return {};
            auto made = make_directory(path, 0755);
            if (!made && made.error() != Errno::exist)
                return made;
            break;
        }
        case mode::symlink:
            return make_symlink({body, header.size}, path);
        case mode::regular:
            TRY(file(header, path, body));
            break;
        default:
            TRY(make_node(path, header.mode,
                          make_device(header.device_major, header.device_minor)));
        }
        return attributes(header, path);
    }

    Status file(const Header& header, std::string_view path, const char* body) noexcept {
        if (header.links > 1) {
            if (const char* first = find_link(header.inode)) {
                auto from = TRY(lookup(first));
                auto linked = make_link(from, path, nullptr);
                if (!linked)
                    return linked;
                return header.size == 0 ? Status{} : write_body(header, path, body);
            }
            note_link(header.inode, path.data());
        }
        return write_body(header, path, body);
    }

    static Status write_body(const Header& header, std::string_view path,
                             const char* body) noexcept {
        // An earlier member may be a FIFO of that name: opening it would wait for a reader forever.
        auto there = lookup(path);
        if (there && (there->inode()->mode & mode::type_mask) != mode::regular)
            return Errno::exist;
        auto out = TRY(open(path, open_flag::creat | open_flag::wronly | open_flag::trunc, 0600));
        auto buffer = IoBuffer::kernel(static_cast<const void*>(body), header.size);
        while (buffer.remaining() != 0)
            TRY(out->write(buffer));
        return {};
    }

    static Status attributes(const Header& header, std::string_view path) noexcept {
        auto place = TRY(lookup(path, nullptr, {.follow_last = false}));
        AttributeChange change;
        change.valid = AttributeChange::set_mode | AttributeChange::set_uid |
                       AttributeChange::set_gid | AttributeChange::set_mtime;
        change.mode = header.mode;
        change.uid = header.uid;
        change.gid = header.gid;
        change.mtime = header.time * ns_per_s;
        return set_attributes(place, change);
    }

    const char* find_link(std::uint32_t inode) const noexcept {
        for (const LinkNote* note = links_; note != nullptr; note = note->next)
            if (note->inode == inode)
                return note->name;
        return nullptr;
    }
    void note_link(std::uint32_t inode, const char* name) noexcept {
        auto* note = static_cast<LinkNote*>(kmalloc(sizeof(LinkNote)));
        if (note == nullptr)
            return;
        *note = {inode, name, links_};
        links_ = note;
    }
    void forget_links() noexcept {
        while (links_ != nullptr) {
            LinkNote* next = links_->next;
            kfree(links_);
            links_ = next;
        }
    }

    LinkNote* links_{};
};

} // namespace

Status unpack_initramfs(const void* data, std::size_t size) noexcept {
    Unpacker unpacker;
    return unpacker.run(static_cast<const char*>(data), size);
}

} // namespace kernel::vfs
