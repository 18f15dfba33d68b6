// SPDX-License-Identifier: BSD-2-Clause
// Makes ELF files of PV kernels in memory, right or wrong in chosen ways.
#pragma once

#include <cero/abi/start_info.h>

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace cero::test {

/// A kernel with one segment of `pattern` bytes and one that is mostly bss, and the usual notes.
struct KernelRecipe {
    std::uint64_t virtual_base{0xffffffff80000000};
    std::uint64_t physical{0x100000};
    std::uint64_t text_size{10000};
    std::uint64_t data_size{100};
    std::uint64_t bss_size{20000};
    std::uint64_t entry_offset{0x40};
    bool has_entry{true};
    bool has_notes{true};
    bool has_hypercall_page{true};
    bool ramdisk_by_frame{false};
    bool only_pvh{false};
    std::uint64_t p2m_base{0};
    std::string version{"xen-3.0"};
    std::string features;
    std::uint8_t elf_class{ELFCLASS64};

    [[nodiscard]] std::string build() const {
        std::string notes;
        const auto note = [&](std::uint32_t type, std::string content) {
            const std::uint32_t header[] = {4, static_cast<std::uint32_t>(content.size()), type};
            notes.append(reinterpret_cast<const char*>(header), sizeof header);
            notes.append("Xen\0", 4);
            content.resize((content.size() + 3) / 4 * 4);
            notes += content;
        };
        const auto number = [](std::uint64_t value) {
            return std::string{reinterpret_cast<const char*>(&value), sizeof value};
        };
        if (has_notes) {
            if (only_pvh) {
                note(CERO_ELFNOTE_PHYS32_ENTRY, number(physical));
            } else {
                note(CERO_ELFNOTE_XEN_VERSION, version + '\0');
                note(CERO_ELFNOTE_VIRT_BASE, number(virtual_base));
                if (has_entry)
                    note(CERO_ELFNOTE_ENTRY, number(virtual_base + physical + entry_offset));
                if (has_hypercall_page)
                    note(CERO_ELFNOTE_HYPERCALL_PAGE, number(virtual_base + physical + 4096));
                if (ramdisk_by_frame)
                    note(CERO_ELFNOTE_MOD_START_PFN, number(1));
                if (p2m_base != 0)
                    note(CERO_ELFNOTE_INIT_P2M, number(p2m_base));
                if (!features.empty())
                    note(CERO_ELFNOTE_FEATURES, features); // without a NUL, as Linux has it
            }
        }
        Elf64_Ehdr header{};
        std::memcpy(header.e_ident, ELFMAG, SELFMAG);
        header.e_ident[EI_CLASS] = elf_class;
        header.e_ident[EI_DATA] = ELFDATA2LSB;
        header.e_machine = EM_X86_64;
        header.e_type = ET_EXEC;
        header.e_phoff = sizeof header;
        header.e_phentsize = sizeof(Elf64_Phdr);
        header.e_phnum = 3;
        const std::uint64_t text_offset = sizeof header + 3 * sizeof(Elf64_Phdr);
        const std::uint64_t data_offset = text_offset + text_size;
        const std::uint64_t notes_offset = data_offset + data_size;
        Elf64_Phdr parts[3]{};
        parts[0].p_type = PT_LOAD;
        parts[0].p_offset = text_offset;
        parts[0].p_paddr = physical;
        parts[0].p_filesz = parts[0].p_memsz = text_size;
        parts[1].p_type = PT_LOAD; // starts in the last page of the first one
        parts[1].p_offset = data_offset;
        parts[1].p_paddr = physical + text_size + 16;
        parts[1].p_filesz = data_size;
        parts[1].p_memsz = data_size + bss_size;
        parts[2].p_type = PT_NOTE;
        parts[2].p_offset = notes_offset;
        parts[2].p_filesz = notes.size();
        std::string file;
        file.append(reinterpret_cast<const char*>(&header), sizeof header);
        file.append(reinterpret_cast<const char*>(parts), sizeof parts);
        for (std::uint64_t i = 0; i < text_size; ++i)
            file += static_cast<char>(i * 7);
        file.append(data_size, 'd');
        file += notes;
        return file;
    }
};

} // namespace cero::test
