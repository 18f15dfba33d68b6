// SPDX-License-Identifier: BSD-2-Clause
#include <platform/acpi/tables.hpp>

#include <platform/boot/byte_view.hpp>

namespace cero::platform {
namespace {

constexpr std::size_t table_header = 36;
constexpr std::size_t max_table = 1u << 20;
constexpr std::uint32_t signature(const char (&name)[5]) noexcept {
    return static_cast<std::uint32_t>(name[0] | name[1] << 8 | name[2] << 16 | name[3] << 24);
}

bool checksum_is_good(ByteView bytes) noexcept {
    unsigned sum = 0;
    for (const std::byte b : bytes.bytes()) sum += static_cast<unsigned>(b);
    return (sum & 0xff) == 0;
}

/// The whole table at an address, or nothing.
ByteView load_table(PhysicalReader read, std::uint64_t address) noexcept {
    const ByteView header{read(address, table_header)};
    const auto length = header.read<std::uint32_t>(4);
    if (header.size() < table_header || length < table_header || length > max_table) return ByteView{};
    const ByteView table{read(address, length)};
    return table.size() == length && checksum_is_good(table) ? table : ByteView{};
}

void add_cpu(AcpiInfo& info, std::uint32_t apic_id, std::uint32_t acpi_id, std::uint32_t flags) noexcept {
    if ((flags & 1) != 0 && info.cpu_count < AcpiInfo::max_cpus) info.cpus[info.cpu_count++] = {apic_id, acpi_id};
}

void parse_madt_entry(ByteView entry, AcpiInfo& info) noexcept {
    switch (entry.read<std::uint8_t>(0)) {
    case 0: // local APIC
        add_cpu(info, entry.read<std::uint8_t>(3), entry.read<std::uint8_t>(2), entry.read<std::uint32_t>(4));
        break;
    case 1: // IOAPIC
        if (info.ioapic_count < AcpiInfo::max_ioapics && entry.size() >= 12)
            info.ioapics[info.ioapic_count++] = {entry.read<std::uint8_t>(2), entry.read<std::uint32_t>(8),
                                                 entry.read<std::uint32_t>(4)};
        break;
    case 2: { // interrupt source override
        const auto flags = entry.read<std::uint16_t>(8);
        if (info.override_count < AcpiInfo::max_overrides && entry.size() >= 10)
            info.overrides[info.override_count++] = {entry.read<std::uint8_t>(3), (flags >> 2 & 3) == 3,
                                                     (flags & 3) == 3, entry.read<std::uint32_t>(4)};
        break;
    }
    case 5: // local APIC address override
        if (const auto address = entry.read<std::uint64_t>(4); address != 0) info.local_apic = address;
        break;
    case 9: // local x2APIC
        add_cpu(info, entry.read<std::uint32_t>(4), entry.read<std::uint32_t>(12), entry.read<std::uint32_t>(8));
        break;
    default: break;
    }
}

void parse_madt(ByteView table, AcpiInfo& info) noexcept {
    if (const auto address = table.read<std::uint32_t>(36); address != 0) info.local_apic = address;
    for (std::size_t at = 44; at + 2 <= table.size();) {
        const auto length = table.read<std::uint8_t>(at + 1);
        if (length < 2) return;
        parse_madt_entry(table.slice(at, length), info);
        at += length;
    }
}

void parse_fadt(ByteView table, PhysicalReader read, AcpiInfo& info) noexcept {
    info.has_fadt = true;
    info.smi_command = table.read<std::uint32_t>(48);
    info.acpi_enable = table.read<std::uint8_t>(52);
    info.pm1a_control = static_cast<std::uint16_t>(table.read<std::uint32_t>(64));
    info.pm1b_control = static_cast<std::uint16_t>(table.read<std::uint32_t>(68));
    constexpr std::uint32_t reset_supported = 1u << 10;
    if (table.size() >= 129 && (table.read<std::uint32_t>(112) & reset_supported) != 0) {
        info.reset_space = table.read<std::uint8_t>(116);
        info.reset_address = table.read<std::uint64_t>(120);
        info.reset_value = table.read<std::uint8_t>(128);
        info.has_reset = info.reset_space <= 1 && info.reset_address != 0;
    }
    std::uint64_t dsdt = table.read<std::uint64_t>(140);
    if (dsdt == 0) dsdt = table.read<std::uint32_t>(40);
    info.has_s5 = find_s5(load_table(read, dsdt).bytes(), info.s5_a, info.s5_b);
}

void parse_table(std::uint64_t address, PhysicalReader read, AcpiInfo& info) noexcept {
    const ByteView table = load_table(read, address);
    switch (table.read<std::uint32_t>(0)) {
    case signature("APIC"): parse_madt(table, info); break;
    case signature("FACP"): parse_fadt(table, read, info); break;
    case signature("HPET"):
        if (table.read<std::uint8_t>(40) == 0) // memory space
            info.hpet = table.read<std::uint64_t>(44);
        break;
    case signature("MCFG"):
        if (table.size() >= 60 && table.read<std::uint16_t>(52) == 0) {
            info.mcfg_base = table.read<std::uint64_t>(44);
            info.mcfg_first_bus = table.read<std::uint8_t>(54);
            info.mcfg_last_bus = table.read<std::uint8_t>(55);
        }
        break;
    default: break;
    }
}

/// An AML integer of at most one byte; advances.
bool take_small_integer(ByteView aml, std::size_t& at, std::uint8_t& value) noexcept {
    constexpr std::uint8_t zero_op = 0, one_op = 1, byte_prefix = 0x0a;
    const auto op = aml.read<std::uint8_t>(at++);
    if (op == zero_op || op == one_op) {
        value = op;
        return at <= aml.size();
    }
    value = aml.read<std::uint8_t>(at++);
    return op == byte_prefix && at <= aml.size();
}

} // namespace

bool find_s5(std::span<const std::byte> bytes, std::uint8_t& a, std::uint8_t& b) noexcept {
    constexpr std::uint8_t package_op = 0x12;
    const ByteView aml{bytes};
    for (std::size_t at = 0; at + 8 < aml.size(); ++at) {
        if (aml.read<std::uint32_t>(at) != signature("_S5_") || aml.read<std::uint8_t>(at + 4) != package_op) continue;
        const auto lead = aml.read<std::uint8_t>(at + 5); // package length: 1 to 4 bytes
        std::size_t next = at + 6 + (lead >> 6) + 1;      // and the number of elements
        std::uint8_t first = 0, second = 0;
        if (take_small_integer(aml, next, first) && take_small_integer(aml, next, second)) {
            a = first;
            b = second;
            return true;
        }
    }
    return false;
}

bool parse_acpi(std::span<const std::byte> rsdp, PhysicalReader read, AcpiInfo& info) noexcept {
    const ByteView root{rsdp};
    if (root.size() < 20) return false;
    const bool extended = root.read<std::uint8_t>(15) >= 2 && root.read<std::uint64_t>(24) != 0;
    const ByteView list = load_table(read, extended ? root.read<std::uint64_t>(24) : root.read<std::uint32_t>(16));
    if (list.size() == 0) return false;
    const std::size_t width = extended ? 8 : 4;
    for (std::size_t at = table_header; at + width <= list.size(); at += width)
        parse_table(extended ? list.read<std::uint64_t>(at) : list.read<std::uint32_t>(at), read, info);
    return true;
}

} // namespace cero::platform
