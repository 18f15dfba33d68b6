// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: boot information, ACPI tables, command line and instruction bytes, chosen by the
// first byte.
#include <arch/x86_64/guest/store_decoder.hpp>
#include <platform/acpi/tables.hpp>
#include <platform/boot/multiboot2.hpp>
#include <platform/boot/options.hpp>

#include <cstdlib>

namespace {

std::span<const std::byte> memory; ///< what the ACPI parser takes for physical memory

std::span<const std::byte> read_physical(std::uint64_t address, std::size_t size) {
    if (address >= memory.size() || size > memory.size() - address)
        return {};
    return memory.subspan(address, size);
}

void fuzz_options(std::string_view line) {
    const auto value = cero::platform::find_option(line, "dom0_mem");
    if (value)
        static_cast<void>(cero::platform::parse_size(*value));
    for (auto word = cero::platform::next_word(line); !word.empty();
         word = cero::platform::next_word(line))
        static_cast<void>(cero::platform::is_known_option(word));
}

void fuzz_instruction(const std::uint8_t* data, std::size_t size) {
    const auto in = cero::arch::decode_store({data, size < 15 ? size : 15});
    if (!in)
        return;
    if (in->length > size)
        std::abort();
    cero::arch::GuestRegs regs{};
    cero::arch::retire_store(*in, regs, 0x8000000000000067);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data + 1), size - 1};
    if (data[0] % 4 == 0) {
        cero::platform::Multiboot2Info info;
        static_cast<void>(cero::platform::parse_multiboot2(bytes, info));
    } else if (data[0] % 4 == 1) {
        memory = bytes;
        cero::platform::AcpiInfo info;
        static_cast<void>(cero::platform::parse_acpi(bytes, &read_physical, info));
        std::uint8_t a, b;
        static_cast<void>(cero::platform::find_s5(bytes, a, b));
    } else if (data[0] % 4 == 2) {
        fuzz_options({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    } else {
        fuzz_instruction(data + 1, size - 1);
    }
    return 0;
}
