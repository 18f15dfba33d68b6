// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/pv_image.hpp>

#include <cero/abi/start_info.h>

namespace cero {
namespace {

using Bytes = std::span<const std::byte>;

// [ELF-64 Object File Format, version 1.5]
struct ElfHeader {
    unsigned char ident[16];
    std::uint16_t type, machine;
    std::uint32_t version;
    std::uint64_t entry, program_headers, section_headers;
    std::uint32_t flags;
    std::uint16_t header_size, program_header_size, program_header_count;
    std::uint16_t section_header_size, section_header_count, section_names;
};
static_assert(sizeof(ElfHeader) == 64);
struct ProgramHeader {
    std::uint32_t type, flags;
    std::uint64_t offset, virtual_address, physical_address, file_size, memory_size, align;
};
static_assert(sizeof(ProgramHeader) == 56);
struct NoteHeader {
    std::uint32_t name_size, descriptor_size, type;
};
constexpr unsigned char elf64_little_endian[] = {0x7f, 'E', 'L', 'F', 2, 1};
constexpr std::uint16_t type_executable = 2;
constexpr std::uint16_t type_shared = 3;
constexpr std::uint16_t machine_x86_64 = 62;
constexpr std::uint32_t segment_load = 1;
constexpr std::uint32_t segment_note = 4;

/// Copies a structure out of the file; false when it does not lie inside.
template <typename T> bool fetch(Bytes file, std::uint64_t offset, T& out) noexcept {
    if (offset > file.size() || file.size() - offset < sizeof(T)) return false;
    __builtin_memcpy(&out, file.data() + offset, sizeof(T));
    return true;
}

/// A part of the file, empty when it does not lie inside.
Bytes part(Bytes file, std::uint64_t offset, std::uint64_t size) noexcept {
    if (offset > file.size() || file.size() - offset < size) return {};
    return file.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

bool equals(Bytes text, const char* wanted) noexcept {
    std::size_t n = 0;
    for (; n < text.size() && text[n] != std::byte{0}; ++n)
        if (wanted[n] == '\0' || static_cast<char>(text[n]) != wanted[n]) return false;
    return wanted[n] == '\0';
}

/// What the notes say, before it is combined; numbers by the type of their note.
struct Notes {
    bool any{};
    bool wrong_version{};
    bool wrong_loader{};
    std::optional<std::uint64_t> number[CERO_ELFNOTE_PHYS32_ENTRY + 1];
};

void take_note(Notes& notes, std::uint32_t type, Bytes descriptor) noexcept {
    notes.any = true;
    if (type > CERO_ELFNOTE_PHYS32_ENTRY) return;
    std::uint64_t& number = notes.number[type].emplace(0);
    __builtin_memcpy(&number, descriptor.data(), descriptor.size() < 8 ? descriptor.size() : 8);
    if (type == CERO_ELFNOTE_XEN_VERSION) notes.wrong_version = !equals(descriptor, "xen-3.0");
    if (type == CERO_ELFNOTE_LOADER) notes.wrong_loader = !equals(descriptor, "generic");
}

constexpr std::uint64_t aligned4(std::uint64_t size) noexcept { return (size + 3) & ~std::uint64_t{3}; }

void read_notes(Bytes segment, Notes& notes) noexcept {
    std::uint64_t at = 0;
    NoteHeader header;
    while (fetch(segment, at, header)) {
        const std::uint64_t name_at = at + sizeof header;
        const std::uint64_t descriptor_at = name_at + aligned4(header.name_size);
        const Bytes name = part(segment, name_at, header.name_size);
        const Bytes descriptor = part(segment, descriptor_at, header.descriptor_size);
        if (name.size() != header.name_size || descriptor.size() != header.descriptor_size) return;
        if (header.name_size == 4 && equals(name, "Xen")) take_note(notes, header.type, descriptor);
        at = descriptor_at + aligned4(header.descriptor_size);
    }
}

const char* recognise(Bytes file, ElfHeader& header) noexcept {
    constexpr std::uint64_t boot_flag_at = 0x202;
    std::uint32_t word = 0;
    if (fetch(file, boot_flag_at, word) && word == 0x53726448) // "HdrS"
        return "is a compressed Linux image; give its vmlinux (an ELF file) instead";
    if (fetch(file, 0, word) && (word & 0xffff) == 0x8b1f) return "is compressed with gzip; give the uncompressed file";
    if (!fetch(file, 0, header)) return "is too short for an ELF file";
    for (unsigned n = 0; n < sizeof elf64_little_endian; ++n)
        if (header.ident[n] != elf64_little_endian[n]) return "is not a 64-bit ELF file";
    if (header.machine != machine_x86_64 || (header.type != type_executable && header.type != type_shared))
        return "is not an executable for x86-64";
    if (header.program_header_size != sizeof(ProgramHeader)) return "has malformed program headers";
    return nullptr;
}

bool is_canonical(std::uint64_t address) noexcept {
    const std::uint64_t top = address >> 47;
    return top == 0 || top == 0x1ffff;
}

const char* add_segment(Bytes file, const ProgramHeader& header, std::uint64_t offset, PvImage& image) noexcept {
    constexpr std::uint64_t largest = 1ull << 30; // the initial mapping stays below 1 GiB
    if (header.memory_size == 0) return nullptr;
    if (image.segment_count == PvImage::max_segments) return "has too many segments";
    if (header.file_size > header.memory_size || part(file, header.offset, header.file_size).size() != header.file_size)
        return "is truncated or has a segment outside the file";
    const std::uint64_t address = header.physical_address - offset + image.virt_base;
    if (address < image.virt_base || address - image.virt_base > largest || header.memory_size > largest ||
        !is_canonical(address))
        return "has a segment outside its first GiB";
    image.segments[image.segment_count++] = {header.offset, header.file_size, address, header.memory_size};
    if (address + header.memory_size > image.end) image.end = address + header.memory_size;
    return nullptr;
}

const char* check(const PvImage& image, const Notes& notes) noexcept {
    const auto inside = [&](std::uint64_t address) { return address >= image.virt_base && address < image.end; };
    if (image.segment_count == 0) return "has nothing to load";
    if ((image.virt_base & (page_size - 1)) != 0 || !is_canonical(image.virt_base))
        return "has a malformed VIRT_BASE note";
    if (notes.number[CERO_ELFNOTE_PADDR_OFFSET] && !notes.number[CERO_ELFNOTE_VIRT_BASE])
        return "has a PADDR_OFFSET note without VIRT_BASE";
    if (!inside(image.entry)) return "has its entry point outside its segments";
    if (image.hypercall_page && ((*image.hypercall_page & (page_size - 1)) != 0 || !inside(*image.hypercall_page)))
        return "has a malformed HYPERCALL_PAGE note";
    if (image.init_p2m) {
        constexpr unsigned level4_shift = 39;
        const std::uint64_t at = *image.init_p2m;
        const std::uint64_t slot = at >> level4_shift & 511;
        if ((at & ((1ull << 21) - 1)) != 0 || !is_canonical(at) || (slot >= 256 && slot < 272) ||
            slot == (image.virt_base >> level4_shift & 511))
            return "has an INIT_P2M note that cannot be honoured";
    }
    return nullptr;
}

constexpr std::uint64_t pages_of(std::uint64_t bytes) noexcept { return (bytes + page_size - 1) >> page_shift; }

/// Tables of levels 1 to 3 that cover [first, first + frames * 4096).
constexpr std::uint64_t tables_for(std::uint64_t first, std::uint64_t frames) noexcept {
    std::uint64_t tables = 0;
    const std::uint64_t last = first + (frames << page_shift) - 1;
    for (unsigned shift = 21; shift <= 39; shift += 9) tables += (last >> shift) - (first >> shift) + 1;
    return tables;
}

constexpr std::uint64_t mapping_unit = 1024; // frames: the mapping ends at a multiple of 4 MiB
constexpr std::uint64_t slack = 128;         // frames mapped behind the stack at least: 512 KiB

} // namespace

std::optional<PvImage> parse_pv_image(Bytes file, const char*& problem) noexcept {
    ElfHeader header;
    if ((problem = recognise(file, header)) != nullptr) return {};
    Notes notes;
    ProgramHeader segment;
    const auto program_header = [&](unsigned n) {
        return header.program_headers <= file.size() &&
               fetch(file, header.program_headers + n * sizeof segment, segment);
    };
    problem = "is truncated";
    for (unsigned n = 0; n < header.program_header_count; ++n) {
        if (!program_header(n)) return {};
        if (segment.type != segment_note) continue;
        const Bytes bytes = part(file, segment.offset, segment.file_size);
        if (bytes.size() != segment.file_size) return {};
        read_notes(bytes, notes);
    }
    problem = "is not a PV kernel (it has no Xen ELF notes)";
    if (!notes.any) return {};
    problem = "is made for another version of the interface than xen-3.0";
    if (notes.wrong_version || notes.wrong_loader) return {};
    PvImage image;
    image.virt_base = notes.number[CERO_ELFNOTE_VIRT_BASE].value_or(0);
    image.entry = notes.number[CERO_ELFNOTE_ENTRY].value_or(header.entry);
    image.hypercall_page = notes.number[CERO_ELFNOTE_HYPERCALL_PAGE];
    image.init_p2m = notes.number[CERO_ELFNOTE_INIT_P2M];
    image.ramdisk_by_frame = notes.number[CERO_ELFNOTE_MOD_START_PFN].value_or(0) != 0;
    for (unsigned n = 0; n < header.program_header_count; ++n) {
        if (!program_header(n) || segment.type != segment_load) continue;
        if ((problem = add_segment(file, segment, notes.number[CERO_ELFNOTE_PADDR_OFFSET].value_or(0), image)) !=
            nullptr)
            return {};
    }
    if ((problem = check(image, notes)) != nullptr) return {};
    return image;
}

Result<GuestLayout> lay_out(const PvImage& image, std::uint64_t frames, std::uint64_t ramdisk_bytes) noexcept {
    GuestLayout layout{};
    layout.frames = frames;
    layout.ramdisk_frames = pages_of(ramdisk_bytes);
    layout.ramdisk_mapped = layout.ramdisk_frames != 0 && !image.ramdisk_by_frame;
    layout.p2m_frames = pages_of(frames * sizeof(std::uint64_t));
    std::uint64_t next = pages_of(image.end - image.virt_base);
    const auto place = [&next](std::uint64_t count) {
        const std::uint64_t at = next;
        next += count;
        return at;
    };
    if (layout.ramdisk_mapped) layout.ramdisk = place(layout.ramdisk_frames);
    if (!image.init_p2m) layout.p2m = place(layout.p2m_frames);
    layout.start_info = place(1);
    // The tables map themselves: their number grows until it suffices.
    layout.tables = next;
    for (layout.table_frames = 1;;) {
        const std::uint64_t end = layout.tables + layout.table_frames + 1 + slack;
        layout.mapped = (end + mapping_unit - 1) / mapping_unit * mapping_unit;
        const std::uint64_t wanted = 1 + tables_for(image.virt_base, layout.mapped);
        if (wanted == layout.table_frames) break;
        layout.table_frames = wanted;
    }
    layout.stack = layout.tables + layout.table_frames;
    next = layout.mapped;
    if (layout.ramdisk_frames != 0 && !layout.ramdisk_mapped) layout.ramdisk = place(layout.ramdisk_frames);
    if (image.init_p2m) {
        layout.p2m_tables = tables_for(*image.init_p2m, layout.p2m_frames);
        layout.p2m = place(layout.p2m_frames + layout.p2m_tables);
    }
    layout.needed = next;
    constexpr std::uint64_t one_gib = 1ull << (30 - page_shift);
    if (layout.needed > frames || layout.mapped > one_gib) return Errno::nomem;
    return layout;
}

} // namespace cero
