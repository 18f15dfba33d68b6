// SPDX-License-Identifier: BSD-2-Clause
// ElfBuilder: makes small ELF64 kernels with Xen notes for tests.
#pragma once

#include <cero/abi/start_info.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace cero::test {

using Bytes = std::vector<std::byte>;

inline Bytes text(const char* words) {
    const auto* at = reinterpret_cast<const std::byte*>(words);
    return {at, at + std::strlen(words) + 1};
}
inline Bytes number(std::uint64_t value) {
    Bytes bytes(8);
    std::memcpy(bytes.data(), &value, 8);
    return bytes;
}

struct ElfBuilder {
    struct Segment {
        std::uint64_t virtual_address, physical_address;
        std::uint64_t file_bytes, memory_bytes;
    };
    std::vector<Segment> segments;
    std::vector<std::pair<std::uint32_t, Bytes>> notes;

    void set_note(std::uint32_t type, std::uint64_t value) {
        for (auto& note : notes)
            if (note.first == type)
                note.second = number(value);
    }
    [[nodiscard]] Bytes note_bytes() const {
        Bytes out;
        const auto put = [&out](const void* from, std::size_t bytes) {
            const auto* at = static_cast<const std::byte*>(from);
            out.insert(out.end(), at, at + bytes);
            out.resize((out.size() + 3) & ~std::size_t{3});
        };
        for (const auto& [type, descriptor] : notes) {
            const std::uint32_t header[] = {4, static_cast<std::uint32_t>(descriptor.size()), type};
            put(header, sizeof header);
            put("Xen", 4);
            put(descriptor.data(), descriptor.size());
        }
        return out;
    }
    /// Offset in the file of a segment's data.
    [[nodiscard]] std::uint64_t data_offset(unsigned segment) const {
        std::uint64_t at = 64 + 56 * (segments.size() + 1) + note_bytes().size();
        for (unsigned n = 0; n < segment; ++n)
            at += segments[n].file_bytes;
        return at;
    }
    [[nodiscard]] Bytes build() const {
        const Bytes note = note_bytes();
        Bytes out(64);
        const unsigned char ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
        std::memcpy(out.data(), ident, sizeof ident);
        const auto put16 = [&out](std::size_t at, std::uint16_t value) {
            std::memcpy(out.data() + at, &value, 2);
        };
        const std::uint64_t table = 64;
        put16(16, 2);
        put16(18, 62);
        std::memcpy(out.data() + 32, &table, 8);
        put16(52, 64);
        put16(54, 56);
        put16(56, static_cast<std::uint16_t>(segments.size() + 1));
        const auto add = [&out](std::uint32_t type, std::uint64_t offset, const Segment& it) {
            const std::uint32_t words[] = {type, 7};
            const std::uint64_t longs[] = {offset,        it.virtual_address, it.physical_address,
                                           it.file_bytes, it.memory_bytes,    0x1000};
            const auto* first = reinterpret_cast<const std::byte*>(words);
            out.insert(out.end(), first, first + sizeof words);
            const auto* rest = reinterpret_cast<const std::byte*>(longs);
            out.insert(out.end(), rest, rest + sizeof longs);
        };
        for (unsigned n = 0; n < segments.size(); ++n)
            add(1, data_offset(n), segments[n]);
        add(4, 64 + 56 * (segments.size() + 1), {0, 0, note.size(), note.size()});
        out.insert(out.end(), note.begin(), note.end());
        for (unsigned n = 0; n < segments.size(); ++n)
            for (std::uint64_t byte = 0; byte < segments[n].file_bytes; ++byte)
                out.push_back(static_cast<std::byte>(byte * 7 + n));
        return out;
    }
};

/// As Linux is made: loaded by physical address, p2m at an address of its own, ramdisk by frame.
inline ElfBuilder linux_like() {
    ElfBuilder elf;
    elf.segments = {{0xffffffff80200000, 0x200000, 0x2000, 0x2000}, {0, 0x202000, 0x800, 0x3000}};
    elf.notes = {{CERO_ELFNOTE_XEN_VERSION, text("xen-3.0")},
                 {CERO_ELFNOTE_ENTRY, number(0xffffffff80200010)},
                 {CERO_ELFNOTE_VIRT_BASE, number(0xffffffff80000000)},
                 {CERO_ELFNOTE_PADDR_OFFSET, number(0)},
                 {CERO_ELFNOTE_LOADER, text("generic")},
                 {CERO_ELFNOTE_FEATURES, Bytes(41, std::byte{'x'})},
                 {CERO_ELFNOTE_INIT_P2M, number(0x8000000000)},
                 {CERO_ELFNOTE_MOD_START_PFN, number(1)}};
    return elf;
}

} // namespace cero::test
