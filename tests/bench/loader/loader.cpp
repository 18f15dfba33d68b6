// SPDX-License-Identifier: BSD-2-Clause
// Boots a Multiboot2 hypervisor without GRUB: QEMU's -kernel and -initrd put everything into
// memory, in no time and in the same order each time. The first module is the hypervisor; its words
// and those of the others go along. The TSC at the hypervisor's entry is told on the serial line.
#include <stdint.h>

extern "C" [[noreturn]] void leave(uint32_t entry, uint32_t information);

namespace {

struct BootInformation { // Multiboot 1
    uint32_t flags, memory_lower, memory_upper, boot_device, command_line, module_count, modules;
    uint32_t symbols[4];
    uint32_t map_length, map;
};

struct Module {
    uint32_t start, end, words, reserved;
};

struct [[gnu::packed]] MapEntry {
    uint32_t size; // of what follows
    uint64_t base, length;
    uint32_t type;
};

struct ElfHeader {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, sections;
    uint32_t flags;
    uint16_t header_size, program_size, program_count;
};

struct ProgramHeader {
    uint32_t type, flags;
    uint64_t offset, virtual_address, physical_address, file_size, memory_size, alignment;
};

alignas(8) uint8_t information[16384];
uint32_t used = 8;

void put_char(char c) {
    uint8_t ready;
    do {
        __asm__ volatile("inb %1, %0" : "=a"(ready) : "Nd"(uint16_t{0x3FD}));
    } while ((ready & 0x20) == 0);
    __asm__ volatile("outb %0, %1" : : "a"(c), "Nd"(uint16_t{0x3F8}));
}

void put(const char* text) {
    for (; *text != 0; ++text)
        put_char(*text);
}

[[noreturn]] void fail(const char* text) {
    put("loader: ");
    put(text);
    put("\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}

void put_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4)
        put_char("0123456789abcdef"[value >> shift & 15]);
}

void copy(void* to, const void* from, uint32_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

void clear(void* to, uint32_t count) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0) : "memory");
}

template <typename T>
T* at(uint64_t address) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

uint32_t length_of(const char* text) {
    uint32_t length = 0;
    while (text[length] != 0)
        ++length;
    return length;
}

/// QEMU puts the file's name before the words.
const char* words_of(const Module& module) {
    const char* text = at<const char>(module.words);
    while (*text != 0 && *text != ' ')
        ++text;
    while (*text == ' ')
        ++text;
    return text;
}

/// Room for a tag of Multiboot2; its body.
uint8_t* add_tag(uint32_t type, uint32_t body) {
    if (used + body + 16 > sizeof information)
        fail("the boot information is too large");
    const uint32_t header[2] = {type, body + 8};
    copy(information + used, header, 8);
    uint8_t* const place = information + used + 8;
    used += (body + 8 + 7) & ~7U;
    return place;
}

void add_words(uint32_t type, const char* words, const void* first, uint32_t first_length) {
    uint8_t* const place = add_tag(type, first_length + length_of(words) + 1);
    copy(place, first, first_length);
    copy(place + first_length, words, length_of(words) + 1);
}

void add_map(const BootInformation& boot) {
    uint32_t count = 0;
    for (uint32_t n = 0; n < boot.map_length; n += at<MapEntry>(boot.map + n)->size + 4)
        ++count;
    uint8_t* place = add_tag(6, 8 + count * 24);
    const uint32_t format[2] = {24, 0};
    copy(place, format, 8);
    place += 8;
    for (uint32_t n = 0; n < boot.map_length;
         n += at<MapEntry>(boot.map + n)->size + 4, place += 24)
        copy(place, &at<MapEntry>(boot.map + n)->base, 20);
}

/// ACPI's root pointer lies in the BIOS' area, at a multiple of 16.
void add_acpi() {
    for (uint32_t place = 0xE0000; place < 0x100000; place += 16) {
        const char* const text = at<const char>(place);
        const char wanted[] = "RSD PTR ";
        uint32_t equal = 0;
        while (equal < 8 && text[equal] == wanted[equal])
            ++equal;
        if (equal != 8)
            continue;
        const bool newer = text[15] >= 2;
        const uint32_t size = newer ? 36 : 20;
        copy(add_tag(newer ? 15 : 14, size), text, size);
        return;
    }
    fail("no ACPI root pointer");
}

uint32_t load(const Module& module) {
    const auto* const elf = at<const ElfHeader>(module.start);
    if (elf->ident[0] != 0x7F || elf->ident[4] != 2)
        fail("the first module is not a 64-bit ELF file");
    for (uint32_t n = 0; n < elf->program_count; ++n) {
        const auto* const part =
            at<const ProgramHeader>(module.start + elf->program_headers + n * elf->program_size);
        if (part->type != 1)
            continue;
        copy(at<void>(part->physical_address), at<void>(module.start + part->offset),
             static_cast<uint32_t>(part->file_size));
        clear(at<void>(part->physical_address + part->file_size),
              static_cast<uint32_t>(part->memory_size - part->file_size));
    }
    return static_cast<uint32_t>(elf->entry);
}

} // namespace

extern "C" [[noreturn]] void prepare(uint32_t magic, const BootInformation* boot) {
    if (magic != 0x2BADB002)
        fail("not started through Multiboot");
    if (boot->module_count < 2)
        fail("the hypervisor and a kernel are wanted as modules");
    const auto* const modules = at<const Module>(boot->modules);
    const uint32_t entry = load(modules[0]);
    add_words(1, words_of(modules[0]), nullptr, 0);
    for (uint32_t n = 1; n < boot->module_count; ++n) {
        const uint32_t range[2] = {modules[n].start, modules[n].end};
        add_words(3, words_of(modules[n]), range, 8);
    }
    add_map(*boot);
    add_acpi();
    add_tag(0, 0);
    const uint32_t total[2] = {used, 0};
    copy(information, total, 8);
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    put("loader: entry at ");
    put_hex(uint64_t{high} << 32 | low);
    put("\n");
    leave(entry, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(information)));
}
