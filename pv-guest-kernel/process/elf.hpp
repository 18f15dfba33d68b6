// SPDX-License-Identifier: BSD-2-Clause
// Reading of ELF headers: what exec needs to know of a program. Pure; tested on the host.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

struct ElfHeader {
    std::uint8_t ident[16];
    std::uint16_t type, machine;
    std::uint32_t version;
    std::uint64_t entry, program_offset, section_offset;
    std::uint32_t flags;
    std::uint16_t header_size, program_entry_size, program_count, section_entry_size, section_count,
        section_names;
};
static_assert(sizeof(ElfHeader) == 64);

struct ElfSegment {
    std::uint32_t type, flags;
    std::uint64_t offset, address, physical, file_size, memory_size, alignment;
};
static_assert(sizeof(ElfSegment) == 56);

inline constexpr std::uint32_t elf_load = 1, elf_interpreter = 3, elf_stack = 0x6474e551;
inline constexpr std::uint32_t elf_exec = 1, elf_write = 2, elf_read = 4;
inline constexpr unsigned elf_max_segments = 16;

struct ElfImage {
    std::uint64_t entry;
    std::uint64_t low, high; ///< page-aligned span of the load segments
    std::uint64_t
        program_headers; ///< address (before relocation) of the program headers; 0: not mapped
    bool relocatable;    ///< ET_DYN
    unsigned load_count;
    ElfSegment loads[elf_max_segments];
    std::uint64_t interpreter_offset, interpreter_size; ///< size 0: none
    std::uint16_t header_count;
};

/// Checks the headers (`head`: the first bytes of the file, program headers included) against each
/// other. noexec: not an x86-64 program, or a malformed one.
[[nodiscard]] Result<ElfImage> parse_elf(const void* head, std::size_t head_size,
                                         std::uint64_t file_size) noexcept;

} // namespace kernel
