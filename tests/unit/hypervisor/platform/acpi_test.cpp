// SPDX-License-Identifier: BSD-2-Clause
// ACPI tables over a small fake physical memory.
#include "bytes.hpp"

#include <platform/acpi/tables.hpp>

#include <gtest/gtest.h>

#include <map>

using namespace cero::platform;

namespace {

std::map<std::uint64_t, Bytes> memory;

std::span<const std::byte> read_physical(std::uint64_t address, std::size_t size) {
    const auto found = memory.find(address);
    if (found == memory.end() || found->second.size() < size)
        return {};
    return found->second.first(size);
}

void seal(Bytes& table) {
    table.set<std::uint32_t>(4, static_cast<std::uint32_t>(table.size()));
    table.set<std::uint8_t>(9, 0);
    unsigned sum = 0;
    for (const std::byte b : table.span())
        sum += static_cast<unsigned>(b);
    table.set<std::uint8_t>(9, static_cast<std::uint8_t>(0 - sum));
}
Bytes table_named(const char* name) {
    Bytes table;
    table.text(name, false).pad_to(36);
    return table;
}

Bytes build(const std::vector<std::uint32_t>& tables) {
    Bytes rsdt = table_named("RSDT");
    for (const std::uint32_t address : tables)
        rsdt.put(address);
    seal(rsdt);
    memory[0x1000] = rsdt;
    Bytes rsdp;
    rsdp.text("RSD PTR ", false).pad_to(16).put<std::uint32_t>(0x1000);
    return rsdp;
}

Bytes madt() {
    Bytes table = table_named("APIC");
    table.put<std::uint32_t>(0xfee00000).put<std::uint32_t>(1);
    for (std::uint8_t id = 0; id < 3; ++id) // the third is disabled
        table.put<std::uint8_t>(0).put<std::uint8_t>(8).put(id).put(id).put<std::uint32_t>(id < 2);
    table.put<std::uint8_t>(1).put<std::uint8_t>(12).put<std::uint16_t>(7);
    table.put<std::uint32_t>(0xfec00000).put<std::uint32_t>(0);
    table.put<std::uint8_t>(2).put<std::uint8_t>(10).put<std::uint8_t>(0).put<std::uint8_t>(9);
    table.put<std::uint32_t>(9).put<std::uint16_t>(0xf);
    seal(table);
    return table;
}

TEST(Acpi, ReadsTheInterruptTable) {
    memory.clear();
    memory[0x2000] = madt();
    AcpiInfo info;
    ASSERT_TRUE(parse_acpi(build({0x2000}).span(), &read_physical, info));
    EXPECT_EQ(info.cpu_count, 2u);
    ASSERT_EQ(info.ioapic_count, 1u);
    EXPECT_EQ(info.ioapics[0].address, 0xfec00000u);
    ASSERT_EQ(info.override_count, 1u);
    EXPECT_EQ(info.overrides[0].irq, 9);
    EXPECT_TRUE(info.overrides[0].level);
    EXPECT_TRUE(info.overrides[0].low);
}

TEST(Acpi, RefusesABadChecksum) {
    memory.clear();
    Bytes bad = madt();
    bad.set<std::uint8_t>(36, 0xee);
    memory[0x2000] = bad;
    AcpiInfo info;
    ASSERT_TRUE(parse_acpi(build({0x2000, 0x9999}).span(), &read_physical, info));
    EXPECT_EQ(info.cpu_count, 0u);
}

TEST(Acpi, SurvivesEveryCorruptByteOfTheInterruptTable) {
    const Bytes good = madt();
    const Bytes rsdp = build({0x2000});
    for (std::size_t at = 36; at < good.size(); ++at)
        for (const std::uint8_t value : {0, 1, 3, 127, 255}) {
            Bytes bad = good;
            bad.set(at, value);
            seal(bad);
            memory[0x2000] = bad;
            AcpiInfo info;
            EXPECT_TRUE(parse_acpi(rsdp.span(), &read_physical, info));
        }
}

TEST(Acpi, FindsS5) {
    // Name (_S5, Package (4) {5, One, Zero, Zero})
    const std::uint8_t aml[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x07,
                                0x04, 0x0a, 0x05, 0x01, 0x00, 0x00};
    std::uint8_t a = 0, b = 0;
    EXPECT_TRUE(find_s5(std::as_bytes(std::span{aml}), a, b));
    EXPECT_EQ(a, 5);
    EXPECT_EQ(b, 1);
    for (std::size_t n = 0; n < 11; ++n)
        EXPECT_FALSE(find_s5(std::as_bytes(std::span{aml}.first(n)), a, b)) << n;
}

TEST(Acpi, ReadsResetAndPowerRegisters) {
    memory.clear();
    Bytes fadt = table_named("FACP");
    fadt.pad_to(244);
    fadt.set<std::uint32_t>(64, 0x604);
    fadt.set<std::uint32_t>(112, 1u << 10);
    fadt.set<std::uint8_t>(116, 1);
    fadt.set<std::uint64_t>(120, 0xcf9);
    fadt.set<std::uint8_t>(128, 6);
    seal(fadt);
    memory[0x3000] = fadt;
    AcpiInfo info;
    ASSERT_TRUE(parse_acpi(build({0x3000}).span(), &read_physical, info));
    EXPECT_EQ(info.pm1a_control, 0x604);
    EXPECT_TRUE(info.has_reset);
    EXPECT_EQ(info.reset_address, 0xcf9u);
    EXPECT_FALSE(info.has_s5);
}

} // namespace
