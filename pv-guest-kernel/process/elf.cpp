// SPDX-License-Identifier: BSD-2-Clause
#include "process/elf.hpp"

#include <cstring>

namespace kernel {
namespace {

constexpr std::uint8_t magic[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
constexpr std::uint16_t type_exec = 2, type_dyn = 3, machine_x86_64 = 62;
constexpr std::uint64_t address_limit = 0x7fff'ffff'f000;

bool is_sane(const ElfSegment& segment, std::uint64_t file_size) noexcept {
    return segment.file_size <= segment.memory_size && segment.offset <= file_size &&
           segment.file_size <= file_size - segment.offset && segment.address < address_limit &&
           segment.memory_size < address_limit - segment.address &&
           (segment.offset & page_mask) == (segment.address & page_mask);
}

} // namespace

Result<ElfImage> parse_elf(const void* head, std::size_t head_size,
                           std::uint64_t file_size) noexcept {
    ElfHeader header;
    if (head_size < sizeof header)
        return Errno::noexec;
    memcpy(&header, head, sizeof header);
    if (memcmp(header.ident, magic, sizeof magic) != 0 || header.machine != machine_x86_64 ||
        (header.type != type_exec && header.type != type_dyn) ||
        header.program_entry_size != sizeof(ElfSegment) || header.program_count == 0 ||
        header.program_offset > head_size ||
        header.program_count > (head_size - header.program_offset) / sizeof(ElfSegment))
        return Errno::noexec;
    ElfImage image{};
    image.entry = header.entry;
    image.relocatable = header.type == type_dyn;
    image.header_count = header.program_count;
    image.low = ~std::uint64_t{0};
    for (unsigned i = 0; i < header.program_count; ++i) {
        ElfSegment segment;
        memcpy(&segment,
               static_cast<const char*>(head) + header.program_offset + i * sizeof segment,
               sizeof segment);
        if (segment.type == elf_interpreter) {
            image.interpreter_offset = segment.offset;
            image.interpreter_size = segment.file_size;
        }
        if (segment.type != elf_load || segment.memory_size == 0)
            continue;
        if (image.load_count == elf_max_segments || !is_sane(segment, file_size) ||
            (image.load_count != 0 && page_down(segment.address) < image.high))
            return Errno::noexec;
        if (header.program_offset >= segment.offset &&
            header.program_offset < segment.offset + segment.file_size)
            image.program_headers = segment.address + (header.program_offset - segment.offset);
        image.low = page_down(segment.address) < image.low ? page_down(segment.address) : image.low;
        image.high = page_up(segment.address + segment.memory_size);
        image.loads[image.load_count++] = segment;
    }
    if (image.load_count == 0)
        return Errno::noexec;
    return image;
}

} // namespace kernel
