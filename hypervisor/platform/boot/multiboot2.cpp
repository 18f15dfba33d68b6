// SPDX-License-Identifier: BSD-2-Clause
#include <platform/boot/multiboot2.hpp>

#include <platform/boot/byte_view.hpp>

namespace cero::platform {
namespace {

// [Multiboot2 specification 2.0, "Boot information format"]
constexpr std::uint32_t tag_end = 0, tag_command_line = 1, tag_module = 3, tag_memory_map = 6, tag_acpi_old = 14,
                        tag_acpi_new = 15;
constexpr std::size_t info_header = 8, tag_header = 8, min_map_entry = 24;

void add_range(Multiboot2Info& info, std::uint64_t base, std::uint64_t size, arch::MemoryType type) noexcept {
    if (size == 0 || base + size < base) return;
    if (info.range_count == max_memory_ranges) {
        info.truncated = true;
        return;
    }
    unsigned at = info.range_count++;
    for (; at > 0 && info.ranges[at - 1].base > base; --at) info.ranges[at] = info.ranges[at - 1];
    info.ranges[at] = {base, size, type};
}

void parse_memory_map(ByteView body, Multiboot2Info& info) noexcept {
    const auto entry_size = body.read<std::uint32_t>(0);
    if (entry_size < min_map_entry) return;
    for (std::size_t at = 8; at < body.size() && body.size() - at >= entry_size; at += entry_size) {
        const auto type = body.read<std::uint32_t>(at + 16);
        add_range(info, body.read<std::uint64_t>(at), body.read<std::uint64_t>(at + 8),
                  type >= 1 && type <= 5 ? arch::MemoryType{type} : arch::MemoryType::reserved);
    }
}

void parse_module(ByteView body, Multiboot2Info& info) noexcept {
    const auto first = body.read<std::uint32_t>(0);
    const auto end = body.read<std::uint32_t>(4);
    if (end < first) return;
    if (info.module_count == max_modules) {
        info.truncated = true;
        return;
    }
    info.modules[info.module_count++] = {first, end - first, body.from(8).text()};
}

} // namespace

bool parse_multiboot2(std::span<const std::byte> bytes, Multiboot2Info& info) noexcept {
    const ByteView all{bytes};
    const auto total = all.read<std::uint32_t>(0);
    if (total < info_header || total > all.size()) return false;
    const ByteView view = all.slice(0, total);
    for (std::size_t at = info_header; view.size() - at >= tag_header;) {
        const auto type = view.read<std::uint32_t>(at);
        const auto size = view.read<std::uint32_t>(at + 4);
        if (type == tag_end) return true;
        if (size < tag_header || size > view.size() - at) return false;
        const ByteView body = view.slice(at + tag_header, size - tag_header);
        if (type == tag_command_line)
            info.command_line = body.text();
        else if (type == tag_module)
            parse_module(body, info);
        else if (type == tag_memory_map)
            parse_memory_map(body, info);
        else if (type == tag_acpi_new || (type == tag_acpi_old && info.rsdp.empty()))
            info.rsdp = body.bytes();
        at += (size + std::size_t{7}) & ~std::size_t{7};
        if (at > view.size()) return false;
    }
    return false;
}

} // namespace cero::platform
