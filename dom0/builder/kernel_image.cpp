// SPDX-License-Identifier: BSD-2-Clause
// ELF64 headers and the "Xen" notes of a PV kernel.
#include "builder/kernel_image.hpp"

#include "base/error.hpp"

#include <cero/abi/start_info.h>
#include <cero/abi/types.h>

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace cero::builder {

namespace {

constexpr std::uint64_t page_size = CERO_PAGE_SIZE;
constexpr std::uint64_t span_max = std::uint64_t{1} << 30; // what one level-2 table maps
constexpr std::size_t notes_max = 1 << 20;
constexpr const char* wrong_kernel = "Give a 64-bit kernel built for Xen PV (with ELF notes).";
constexpr const char* broken_file = "Copy the file again: it seems to be damaged or cut short.";

class Parser {
public:
    Parser(const ImageSource& source, const std::string& path) : source_{source}, path_{path} {}

    KernelImage parse() {
        const std::vector<Elf64_Phdr> headers = program_headers();
        read_notes(headers);
        if (!has_notes_)
            refuse("it has no Xen ELF notes, so it is no PV kernel", wrong_kernel);
        check_identity();
        place_segments(headers);
        check_addresses();
        return std::move(image_);
    }

private:
    [[noreturn]] void refuse(std::string_view cause, std::string remedy = {}) const {
        throw Error{ExitCode::failed, fmt::format("kernel {}: {}", path_, cause),
                    std::move(remedy)};
    }

    template <typename T>
    T read_struct(std::uint64_t offset) const {
        T value;
        if (!source_.read(offset, {reinterpret_cast<std::uint8_t*>(&value), sizeof value}))
            refuse("the file ends too early", broken_file);
        return value;
    }

    std::vector<Elf64_Phdr> program_headers() {
        if (source_.size() < sizeof(Elf64_Ehdr))
            refuse(source_.size() == 0 ? "the file is empty" : "it is no ELF file", wrong_kernel);
        const auto header = read_struct<Elf64_Ehdr>(0);
        if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
            refuse("it is no ELF file, nor a compressed one that is known here", wrong_kernel);
        if (header.e_ident[EI_CLASS] == ELFCLASS32)
            refuse("it is a 32-bit kernel; only 64-bit PV kernels can run", wrong_kernel);
        if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
            header.e_machine != EM_X86_64)
            refuse("it is not for x86-64", wrong_kernel);
        constexpr std::size_t headers_max = 256;
        if (header.e_phnum == 0 || header.e_phnum > headers_max ||
            header.e_phentsize != sizeof(Elf64_Phdr))
            refuse("its program headers make no sense", broken_file);
        std::vector<Elf64_Phdr> headers(header.e_phnum);
        if (!source_.read(header.e_phoff, {reinterpret_cast<std::uint8_t*>(headers.data()),
                                           headers.size() * sizeof headers[0]}))
            refuse("the file ends before its program headers", broken_file);
        for (const Elf64_Phdr& part : headers)
            if ((part.p_type == PT_LOAD || part.p_type == PT_NOTE) &&
                (part.p_offset > source_.size() || part.p_filesz > source_.size() - part.p_offset))
                refuse("the file is truncated: a segment lies past its end", broken_file);
        section_offset_ = header.e_shoff;
        section_count_ = header.e_shentsize == sizeof(Elf64_Shdr) ? header.e_shnum : 0;
        return headers;
    }

    void read_notes(const std::vector<Elf64_Phdr>& headers) {
        for (const Elf64_Phdr& part : headers)
            if (part.p_type == PT_NOTE)
                scan_notes(part.p_offset, part.p_filesz);
        if (has_notes_)
            return;
        // Some kernels keep their notes in a section without a program header.
        for (std::uint64_t i = 0; i < section_count_; ++i) {
            Elf64_Shdr section;
            if (!source_.read(section_offset_ + i * sizeof section,
                              {reinterpret_cast<std::uint8_t*>(&section), sizeof section}))
                return;
            if (section.sh_type == SHT_NOTE)
                scan_notes(section.sh_offset, section.sh_size);
        }
    }

    void scan_notes(std::uint64_t offset, std::uint64_t size) {
        if (size > notes_max)
            return;
        std::vector<std::uint8_t> bytes(size);
        if (!source_.read(offset, bytes))
            refuse("its notes lie past the end of the file", broken_file);
        const auto aligned = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
        std::uint64_t at = 0;
        while (at + sizeof(Elf64_Nhdr) <= size) {
            Elf64_Nhdr note;
            std::memcpy(&note, bytes.data() + at, sizeof note);
            const std::uint64_t name = at + sizeof note;
            const std::uint64_t content = name + aligned(note.n_namesz);
            at = content + aligned(note.n_descsz);
            if (content + note.n_descsz > size)
                return;
            constexpr std::string_view owner{"Xen\0", 4};
            if (note.n_namesz == owner.size() &&
                std::memcmp(bytes.data() + name, owner.data(), owner.size()) == 0)
                take_note(note.n_type, std::span{bytes}.subspan(content, note.n_descsz));
        }
    }

    static std::uint64_t number_of(std::span<const std::uint8_t> content) {
        std::uint64_t value = 0;
        std::memcpy(&value, content.data(), std::min(content.size(), sizeof value));
        return value;
    }

    static std::string text_of(std::span<const std::uint8_t> content) {
        std::string text{content.begin(), content.end()}; // a final NUL is usual, not certain
        text.resize(std::strlen(text.c_str()));
        return text;
    }

    void take_note(std::uint32_t type, std::span<const std::uint8_t> content) {
        has_notes_ = true;
        switch (type) {
        case CERO_ELFNOTE_ENTRY:
            image_.entry = number_of(content); // zero is a good address: GRUB starts there
            has_entry_ = true;
            break;
        case CERO_ELFNOTE_HYPERCALL_PAGE:
            image_.hypercall_page = number_of(content);
            break;
        case CERO_ELFNOTE_VIRT_BASE:
            image_.virtual_base = number_of(content);
            has_base_ = true;
            break;
        case CERO_ELFNOTE_PADDR_OFFSET:
            physical_offset_ = number_of(content);
            has_offset_ = true;
            break;
        case CERO_ELFNOTE_XEN_VERSION:
            interface_ = text_of(content);
            break;
        case CERO_ELFNOTE_GUEST_OS:
            image_.guest_os = text_of(content);
            break;
        case CERO_ELFNOTE_GUEST_VERSION:
            image_.guest_version = text_of(content);
            break;
        case CERO_ELFNOTE_FEATURES:
            features_ = std::string{content.begin(), content.end()};
            break;
        case CERO_ELFNOTE_INIT_P2M:
            image_.p2m_base = number_of(content);
            break;
        case CERO_ELFNOTE_MOD_START_PFN:
            image_.ramdisk_by_frame = number_of(content) != 0;
            break;
        case CERO_ELFNOTE_PHYS32_ENTRY:
            is_pvh_ = true;
            break;
        default:
            break;
        }
    }

    void check_identity() const {
        if (interface_.empty() && !has_entry_)
            refuse(is_pvh_ ? "it can only be started as a PVH guest (no PV entry note)"
                           : "its notes name no entry point",
                   wrong_kernel);
        if (interface_ != "xen-3.0")
            refuse(fmt::format("its note XEN_VERSION is \"{}\", not \"xen-3.0\"", interface_),
                   wrong_kernel);
        if (!has_entry_)
            refuse(is_pvh_ ? "it can only be started as a PVH guest (no PV entry note)"
                           : "its notes name no entry point",
                   wrong_kernel);
        if (has_offset_ && !has_base_)
            refuse("it has a note PADDR_OFFSET but no VIRT_BASE", wrong_kernel);
        std::string_view rest = features_;
        while (!rest.empty()) {
            const std::size_t bar = rest.find('|');
            const std::string_view feature = rest.substr(0, bar);
            rest = bar == std::string_view::npos ? std::string_view{} : rest.substr(bar + 1);
            if (feature.starts_with("!auto_translated") || feature.starts_with("!supervisor_mode"))
                refuse(fmt::format("it needs the feature \"{}\", which PV does not have",
                                   feature.substr(1)),
                       wrong_kernel);
        }
    }

    void place_segments(const std::vector<Elf64_Phdr>& headers) {
        std::uint64_t lowest = ~std::uint64_t{0};
        std::uint64_t highest = 0;
        for (const Elf64_Phdr& part : headers) {
            if (part.p_type != PT_LOAD || part.p_memsz == 0)
                continue;
            const std::uint64_t physical = part.p_paddr - physical_offset_;
            if (part.p_filesz > part.p_memsz || physical >= span_max ||
                part.p_memsz > span_max - physical)
                refuse("a segment lies outside the first GiB behind VIRT_BASE", wrong_kernel);
            image_.segments.push_back({part.p_offset, part.p_filesz, part.p_memsz, physical});
            lowest = std::min(lowest, physical);
            highest = std::max(highest, physical + part.p_memsz);
        }
        if (image_.segments.empty())
            refuse("it has nothing to load", wrong_kernel);
        std::ranges::sort(image_.segments, {}, &Segment::physical);
        for (std::size_t i = 1; i < image_.segments.size(); ++i)
            if (image_.segments[i - 1].physical + image_.segments[i - 1].memory_size >
                image_.segments[i].physical)
                refuse("two of its segments overlap", broken_file);
        image_.start = lowest & ~(page_size - 1);
        image_.end = (highest + page_size - 1) & ~(page_size - 1);
    }

    void check_addresses() const {
        const std::uint64_t base = image_.virtual_base;
        const auto is_inside = [&](std::uint64_t address) {
            return address >= base + image_.start && address < base + image_.end;
        };
        if (base % page_size != 0)
            refuse("its VIRT_BASE is not page aligned", wrong_kernel);
        constexpr std::uint64_t hole_end = 0xffff880000000000;
        constexpr std::uint64_t lower_half_end = 0x0000800000000000;
        const auto is_usable = [&](std::uint64_t first, std::uint64_t size) {
            const std::uint64_t last = first + size - 1;
            return last >= first && (last < lower_half_end || first >= hole_end);
        };
        if (!is_usable(base, span_max))
            refuse("its addresses lie in the hypervisor's part of the address space", wrong_kernel);
        if (!is_inside(image_.entry))
            refuse("its entry point lies outside its segments", broken_file);
        if (image_.hypercall_page &&
            (!is_inside(*image_.hypercall_page) || *image_.hypercall_page % page_size != 0))
            refuse("its hypercall page lies outside its segments", broken_file);
        if (image_.p2m_base) {
            if (*image_.p2m_base % page_size != 0 || !is_usable(*image_.p2m_base, span_max))
                refuse("its INIT_P2M address cannot be used", wrong_kernel);
            if (*image_.p2m_base < base + span_max && base < *image_.p2m_base + span_max)
                refuse("its INIT_P2M address overlaps the kernel", wrong_kernel);
        }
    }

    const ImageSource& source_;
    const std::string& path_;
    KernelImage image_;
    std::string interface_;
    std::string features_;
    std::uint64_t physical_offset_{};
    std::uint64_t section_offset_{};
    std::uint64_t section_count_{};
    bool has_notes_{false};
    bool has_base_{false};
    bool has_entry_{false};
    bool has_offset_{false};
    bool is_pvh_{false};
};

} // namespace

KernelImage parse_kernel(const ImageSource& source, const std::string& path) {
    return Parser{source, path}.parse();
}

} // namespace cero::builder
