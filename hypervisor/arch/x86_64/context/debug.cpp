// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/context/debug.hpp>

#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/guest/emulator.hpp>
#include <arch/x86_64/trap/guest_words.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t dr7_general_detect = 1u << 13;
constexpr std::uint64_t dr7_reserved_clear = 0xd800, dr7_fixed = 0x400;
constexpr std::uint64_t dr6_reserved_set = 0xffff0ff0, dr6_reserved_clear = 0x1000;

template <unsigned Number> void write_dr(std::uint64_t value) noexcept {
    __asm__ volatile("mov %0, %%dr%c1" : : "r"(value), "i"(Number));
}

/// An enabled I/O breakpoint (type 2), which exists with CR4.DE only.
bool has_io_breakpoint(std::uint64_t dr7) noexcept {
    for (unsigned n = 0; n < 4; ++n)
        if ((dr7 >> (n * 2) & 3) != 0 && (dr7 >> (16 + n * 4) & 3) == 2) return true;
    return false;
}

/// 4 and 5 are 6 and 7 while CR4.DE is off.
unsigned alias(const ArchVcpu& vcpu, unsigned number) noexcept {
    return (number == 4 || number == 5) && (vcpu.cr4 & cr4::de) == 0 ? number + 2 : number;
}

} // namespace

void debug_load(const ArchVcpu& vcpu) noexcept {
    write_dr<0>(vcpu.dr[0]);
    write_dr<1>(vcpu.dr[1]);
    write_dr<2>(vcpu.dr[2]);
    write_dr<3>(vcpu.dr[3]);
    write_dr<6>(vcpu.dr6);
    write_dr<7>(vcpu.dr7);
}

void debug_switch_off() noexcept { write_dr<7>(dr7_reset); }

bool debug_value_is_valid(const ArchVcpu& vcpu, unsigned number, std::uint64_t value) noexcept {
    if (number < 4) return is_canonical(value) && !in_hypervisor_hole(value);
    if (value >> 32 != 0) return false;
    return number != 7 ||
           ((value & dr7_general_detect) == 0 && (!has_io_breakpoint(value) || (vcpu.cr4 & cr4::de) != 0));
}

Status debug_write(ArchVcpu& vcpu, unsigned number, std::uint64_t value) noexcept {
    number = alias(vcpu, number);
    if (number == 4 || number == 5) return Errno::nodev;
    if (number > 7) return Errno::inval;
    if (!debug_value_is_valid(vcpu, number, value))
        return number < 4 || (number == 7 && value >> 32 == 0) ? Errno::perm : Errno::inval;
    const bool was_active = debug_is_active(vcpu);
    if (number < 4)
        vcpu.dr[number] = value;
    else if (number == 6)
        vcpu.dr6 = (value | dr6_reserved_set) & ~dr6_reserved_clear;
    else
        vcpu.dr7 = (value | dr7_fixed) & ~dr7_reserved_clear;
    if (debug_is_active(vcpu))
        debug_load(vcpu);
    else if (was_active)
        debug_switch_off();
    return {};
}

Result<std::uint64_t> debug_read(const ArchVcpu& vcpu, unsigned number) noexcept {
    number = alias(vcpu, number);
    if (number < 4) return vcpu.dr[number];
    if (number == 6) return vcpu.dr6;
    if (number == 7) return vcpu.dr7;
    return number < 6 ? Errno::nodev : Errno::inval;
}

std::uint64_t take_debug_status() noexcept {
    std::uint64_t status;
    __asm__ volatile("mov %%dr6, %0" : "=r"(status));
    write_dr<6>(dr6_reset);
    return status;
}

} // namespace cero::arch
