// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/boot/boot_info.hpp>

#include <arch/api/memory.hpp>
#include <arch/x86_64/layout.h>
#include <platform/acpi/machine.hpp>
#include <platform/boot/multiboot2.hpp>
#include <platform/boot/options.hpp>

#include <cstring>

extern "C" const char image_end[];

namespace cero {
namespace arch {
namespace {

using platform::Multiboot2Info;

constexpr std::size_t max_command_line = 1024;
constexpr std::uint64_t boot_mapped = 1ull << 32;                 ///< what the boot tables reach
constexpr std::uint64_t low_memory_kept = low_frames * page_size; // the trampoline is there too

Multiboot2Info info;
char command_line[max_command_line];
char module_lines[platform::max_modules][max_command_line];
BootModule modules[platform::max_modules];
platform::AcpiInfo acpi;
constinit EarlyMemory memory;

void copy_text(char* to, std::string_view from) noexcept {
    const std::size_t length = from.size() < max_command_line ? from.size() : max_command_line - 1;
    std::memcpy(to, from.data(), length);
    to[length] = '\0';
}

/// Through the boot tables' image of the first 4 GiB.
std::span<const std::byte> boot_physical(std::uint64_t address, std::size_t size) noexcept {
    if (address == 0 || address >= boot_mapped || size > boot_mapped - address) return {};
    return {reinterpret_cast<const std::byte*>(CERO_DIRECT_MAP_VIRT + address), size};
}

void reserve_what_is_used() noexcept {
    const std::uint64_t end = reinterpret_cast<std::uint64_t>(image_end) - CERO_IMAGE_OFFSET;
    static_cast<void>(memory.reserve(0, low_memory_kept));
    static_cast<void>(memory.reserve(CERO_IMAGE_PHYS, end - CERO_IMAGE_PHYS));
    for (unsigned n = 0; n < info.module_count; ++n)
        static_cast<void>(memory.reserve(modules[n].base, modules[n].size));
}

} // namespace

bool read_boot_information(std::uint64_t physical) noexcept {
    std::uint32_t total = 0;
    std::memcpy(&total, boot_physical(physical, 4).data(), 4);
    const bool good = platform::parse_multiboot2(boot_physical(physical, total), info);
    copy_text(command_line, info.command_line);
    for (unsigned n = 0; n < info.module_count; ++n) {
        copy_text(module_lines[n], info.modules[n].command_line);
        modules[n] = {info.modules[n].base, info.modules[n].size, module_lines[n]};
    }
    static_cast<void>(platform::parse_acpi(info.rsdp, &boot_physical, acpi));
    memory.~EarlyMemory();
    ::new (&memory) EarlyMemory{memory_map()};
    reserve_what_is_used();
    return good;
}

EarlyMemory& early_memory() noexcept { return memory; }
std::span<const MemoryRange> memory_map() noexcept { return {info.ranges, info.range_count}; }
std::span<const BootModule> boot_modules() noexcept { return {modules, info.module_count}; }
std::span<const std::byte> module_bytes(const BootModule& module) noexcept {
    return {reinterpret_cast<const std::byte*>(CERO_DIRECT_MAP_VIRT + module.base), module.size};
}
void for_each_free_range(void (*visit)(MachineFrame first, std::uint64_t count)) noexcept {
    memory.for_each_free([&](std::uint64_t base, std::uint64_t length) {
        visit(MachineFrame{base >> page_shift}, length >> page_shift);
    });
}
std::optional<std::string_view> boot_option(std::string_view name) noexcept {
    return platform::find_option(command_line, name);
}
const char* boot_command_line() noexcept { return command_line; }

} // namespace arch

const platform::AcpiInfo& platform::acpi_info() noexcept { return arch::acpi; }

} // namespace cero
