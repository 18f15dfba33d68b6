// SPDX-License-Identifier: BSD-2-Clause
// The page-table store decoder: each form that Debian's kernel uses, its effect compared with the
// CPU's own.
#include <arch/x86_64/guest/store_decoder.hpp>

#include <gtest/gtest.h>

#include <random>

using namespace cero::arch;

namespace {

constexpr std::uint64_t arithmetic_flags = 0x8d5;
using Code = std::vector<std::uint8_t>;

std::optional<StoreInstruction> decode(const Code& code) {
    return decode_store(code);
}

TEST(StoreDecoder, FormsOfLinux) {
    struct Case {
        Code code;
        StoreKind kind;
        unsigned bytes, length;
    };
    const Case cases[] = {
        {{0x48, 0x89, 0x37}, StoreKind::mov, 8, 3},             // mov %rsi,(%rdi)
        {{0x48, 0x87, 0x07}, StoreKind::exchange, 8, 3},        // xchg %rax,(%rdi)
        {{0x48, 0xc7, 0x03, 0, 0, 0, 0}, StoreKind::mov, 8, 7}, // movq $0,(%rbx)
        {{0xf0, 0x80, 0x27, 0xfd}, StoreKind::bit_and, 1, 4},   // lock andb $0xfd,(%rdi)
        {{0xf0, 0x48, 0x0f, 0xba, 0x33, 0x05}, StoreKind::bit_reset, 8, 6}, // lock btrq $5,(%rbx)
        {{0xf0, 0x48, 0x0f, 0xb1, 0x16},
         StoreKind::compare_exchange,
         8,
         5},                                                    // lock cmpxchg %rdx,(%rsi)
        {{0x4c, 0x89, 0x64, 0xd8, 0x10}, StoreKind::mov, 8, 5}, // mov %r12,0x10(%rax,%rbx,8)
        {{0x66, 0x89, 0x07}, StoreKind::mov, 2, 3},             // mov %ax,(%rdi)
        {{0x89, 0x87, 1, 2, 3, 4}, StoreKind::mov, 4, 6},       // mov %eax,disp32(%rdi)
        {{0x48, 0x89, 0x05, 1, 2, 3, 4}, StoreKind::mov, 8, 7}, // mov %rax,disp32(%rip)
        {{0x48, 0x83, 0x20, 0xdf}, StoreKind::bit_and, 8, 4},   // andq $-0x21,(%rax)
    };
    for (const Case& c : cases) {
        const auto got = decode(c.code);
        ASSERT_TRUE(got) << std::hex << int{c.code[0]} << int{c.code[1]};
        EXPECT_EQ(got->kind, c.kind);
        EXPECT_EQ(got->bytes, c.bytes);
        EXPECT_EQ(got->length, c.length);
        for (std::size_t n = 0; n < c.code.size(); ++n)
            EXPECT_FALSE(decode(Code(c.code.begin(), c.code.begin() + static_cast<long>(n))));
    }
}

TEST(StoreDecoder, RefusesTheRest) {
    for (const Code& code : {Code{0x48, 0x8b, 0x07}, // a load
                             Code{0x48, 0x89, 0xc7}, // register to register
                             Code{0x88, 0x27},       // %ah
                             Code{0xf3, 0x48, 0xab}, // rep stosq
                             Code{0x48, 0x0f, 0xba, 0x23, 5} /* bt does not store */})
        EXPECT_FALSE(decode(code)) << std::hex << int{code[0]};
}

/// Executes the instruction on the host: `code` must address its operand by (%rdi).
struct HostResult {
    std::uint64_t memory, rax, rsi, flags;
};
HostResult run_on_host(unsigned which, std::uint64_t memory, std::uint64_t rax, std::uint64_t rsi) {
    HostResult r{memory, rax, rsi, 0};
    switch (which) {
#define RUN(number, text)                                                                          \
    case number:                                                                                   \
        __asm__ volatile(text "\n\tpushfq\n\tpopq %3"                                              \
                         : "+m"(r.memory), "+a"(r.rax), "+S"(r.rsi), "=r"(r.flags)                 \
                         : "D"(&r.memory)                                                          \
                         : "memory", "cc");                                                        \
        break
        RUN(0, "lock andb $0xfd, (%%rdi)");
        RUN(1, "lock btrq $5, (%%rdi)");
        RUN(2, "xchg %%rsi, (%%rdi)");
        RUN(3, "lock cmpxchg %%rsi, (%%rdi)");
        RUN(4, "lock xaddl %%esi, (%%rdi)");
        RUN(5, "subw %%si, (%%rdi)");
        RUN(6, "orb %%sil, (%%rdi)");
        RUN(7, "xorl %%esi, (%%rdi)");
        RUN(8, "lock cmpxchgb %%sil, (%%rdi)");
        RUN(9, "addq $-3, (%%rdi)");
#undef RUN
    default:
        break;
    }
    return r;
}
const Code host_codes[] = {
    {0xf0, 0x80, 0x27, 0xfd},
    {0xf0, 0x48, 0x0f, 0xba, 0x37, 0x05},
    {0x48, 0x87, 0x37},
    {0xf0, 0x48, 0x0f, 0xb1, 0x37},
    {0xf0, 0x0f, 0xc1, 0x37},
    {0x66, 0x29, 0x37},
    {0x40, 0x08, 0x37},
    {0x31, 0x37},
    {0xf0, 0x40, 0x0f, 0xb0, 0x37},
    {0x48, 0x83, 0x07, 0xfd},
};

TEST(StoreDecoder, AgreesWithTheCpu) {
    std::mt19937_64 random{7};
    for (unsigned which = 0; which < std::size(host_codes); ++which) {
        const auto in = decode(host_codes[which]);
        ASSERT_TRUE(in) << which;
        ASSERT_EQ(in->length, host_codes[which].size()) << which;
        for (unsigned round = 0; round < 500; ++round) {
            const std::uint64_t memory = random(), rsi = random();
            const std::uint64_t rax = random() % 2 == 0 ? memory : random();
            const HostResult host = run_on_host(which, memory, rax, rsi);
            GuestRegs regs{};
            regs.rax = rax;
            regs.rsi = rsi;
            const std::uint64_t mask = in->bytes == 8 ? ~0ull : (1ull << in->bytes * 8) - 1;
            const StoreEffect effect = store_effect(*in, regs, memory & mask);
            const std::uint64_t stored =
                effect.stores ? (memory & ~mask) | (effect.value & mask) : memory;
            retire_store(*in, regs, memory & mask);
            ASSERT_EQ(stored, host.memory) << which;
            ASSERT_EQ(regs.rax, host.rax) << which;
            ASSERT_EQ(regs.rsi, host.rsi) << which;
            const bool logic = which == 0 || which == 6 || which == 7;
            const std::uint64_t compared = which == 1   ? 1ull // bit instructions define CF alone
                                           : which == 2 ? 0ull
                                           : logic      ? arithmetic_flags & ~0x10ull
                                                        : arithmetic_flags;
            ASSERT_EQ(regs.rflags & compared, host.flags & compared) << which;
        }
    }
}

TEST(StoreDecoder, SurvivesRandomBytes) {
    std::mt19937 random{3};
    for (unsigned n = 0; n < 200000; ++n) {
        std::uint8_t code[15];
        for (std::uint8_t& byte : code)
            byte = static_cast<std::uint8_t>(random());
        const std::size_t size = random() % 16;
        if (const auto in = decode_store({code, size})) {
            EXPECT_LE(in->length, size);
            GuestRegs regs{};
            retire_store(*in, regs, random());
            EXPECT_EQ(regs.rip, in->length);
        }
    }
}

} // namespace
