// SPDX-License-Identifier: BSD-2-Clause
// Emulation of what arrives as #GP, #UD, #NM or a store to a page table.
#include <arch/x86_64/guest/emulator.hpp>

#include <arch/api/context.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/uaccess.hpp>
#include <arch/x86_64/context/control_bits.hpp>
#include <arch/x86_64/context/debug.hpp>
#include <arch/x86_64/context/fpu.hpp>
#include <arch/x86_64/guest/instruction.hpp>
#include <arch/x86_64/guest/policy.hpp>
#include <arch/x86_64/guest/register_file.hpp>
#include <arch/x86_64/guest/store_decoder.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

constexpr unsigned v_gp = 13;
constexpr std::size_t max_instruction = 15;

struct Code {
    std::uint8_t bytes[max_instruction + 1];
    std::size_t size;
    [[nodiscard]] std::span<const std::uint8_t> span() const noexcept { return {bytes, size}; }
};

/// What can be read at rip: all of an instruction, or up to the end of the page.
Code fetch(std::uint64_t rip) noexcept {
    Code code;
    code.size = max_instruction;
    if (copy_from_guest(code.bytes, GuestVirt{rip}, sizeof code.bytes)) [[likely]]
        return code;
    code.size = page_size - (rip & (page_size - 1));
    if (code.size > max_instruction || !copy_from_guest(code.bytes, GuestVirt{rip}, code.size)) code.size = 0;
    return code;
}

void retire(GuestRegs& regs, unsigned length) noexcept {
    regs.rip += length;
    regs.rflags &= ~rflags::rf;
}

std::uint64_t pair(const GuestRegs& regs) noexcept { return (regs.rdx << 32) | (regs.rax & 0xffffffff); }
void set_pair(GuestRegs& regs, std::uint64_t value) noexcept {
    regs.rax = value & 0xffffffff;
    regs.rdx = value >> 32;
}

constexpr std::uint64_t guest_cr4_fixed = cr4::pae | cr4::mce | cr4::osfxsr | cr4::osxmmexcpt;
constexpr std::uint64_t guest_cr4_changeable = cr4::tsd | cr4::de;

std::uint64_t guest_cr0(const ArchVcpu& vcpu) noexcept {
    return cr0::pe | cr0::mp | cr0::et | cr0::ne | cr0::wp | cr0::am | cr0::pg | (vcpu.task_switched ? cr0::ts : 0);
}

bool read_control(Vcpu& vcpu, unsigned number, std::uint64_t& value) noexcept {
    switch (number) {
    case 0: value = guest_cr0(vcpu.arch); return true;
    case 2: value = vcpu.arch.info->arch.cr2; return true;
    case 3: value = vcpu.arch.kernel_cr3; return true;
    case 4: value = guest_cr4_fixed | vcpu.arch.cr4 | (features.xsave ? cr4::osxsave : 0); return true;
    default: return false;
    }
}

Status write_control(Vcpu& vcpu, unsigned number, std::uint64_t value) noexcept {
    switch (number) {
    case 0:
        if (((value ^ guest_cr0(vcpu.arch)) & ~cr0::ts) != 0) return Errno::inval;
        fpu_set_task_switched(vcpu.arch, (value & cr0::ts) != 0);
        return {};
    case 2: vcpu.arch.info->arch.cr2 = value; return {};
    case 3: return core::new_base_pointer(vcpu, to_frame(PhysAddr{value}));
    case 4: // bits that are not the guest's are ignored
        vcpu.arch.cr4 = value & (guest_cr4_changeable | (features.fsgsbase ? cr4::fsgsbase : 0));
        load_control_bits(vcpu.arch);
        return {};
    default: return Errno::inval;
    }
}

/// String forms of in and out: one element per call; the instruction is executed again for the
/// rest.
bool emulate_string_io(Vcpu& vcpu, const Instruction& in, unsigned bytes) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    const bool input = in.opcode < 0x6e;
    if (in.repeat && regs.rcx == 0) {
        retire(regs, in.length);
        return true;
    }
    const auto port = static_cast<std::uint16_t>(regs.rdx);
    std::uint64_t& pointer = input ? regs.rdi : regs.rsi;
    std::uint32_t value = 0;
    if (input) {
        value = guest_read_port(vcpu, port, bytes);
        if (!copy_to_guest(GuestVirt{pointer}, &value, bytes)) return false;
    } else {
        if (!copy_from_guest(&value, GuestVirt{pointer}, bytes)) return false;
        guest_write_port(vcpu, port, bytes, value);
    }
    pointer += (regs.rflags & rflags::df) != 0 ? 0ull - bytes : bytes;
    if (!in.repeat || --regs.rcx == 0) retire(regs, in.length);
    return true;
}

bool emulate_io(Vcpu& vcpu, const Instruction& in, const Code& code) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    if (vcpu.arch.user_mode && vcpu.arch.guest_iopl < 3) return false;
    const unsigned wide = in.operand_bytes == 2 ? 2 : 4;
    const unsigned bytes = (in.opcode & 1) == 0 ? 1 : wide;
    if (in.opcode <= 0x6f) return emulate_string_io(vcpu, in, bytes);
    const bool immediate = in.opcode < 0xec;
    if (immediate && in.length >= code.size) return false;
    const std::uint16_t port = immediate ? code.bytes[in.length] : static_cast<std::uint16_t>(regs.rdx);
    if ((in.opcode & 2) == 0)
        write_register(regs.rax, guest_read_port(vcpu, port, bytes), bytes);
    else
        guest_write_port(vcpu, port, bytes, static_cast<std::uint32_t>(regs.rax & width_mask(bytes)));
    retire(regs, in.length + (immediate ? 1u : 0u));
    return true;
}

/// mov to and from control and debug registers.
bool emulate_register_move(Vcpu& vcpu, const Instruction& in) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    const unsigned special = (in.modrm >> 3 & 7u) | (in.rex & 4u) << 1;
    std::uint64_t& general = general_register(regs, (in.modrm & 7u) | (in.rex & 1u) << 3);
    const std::uint64_t before = general;
    switch (in.opcode) {
    case 0x20: {
        std::uint64_t value = 0;
        if (!read_control(vcpu, special, value)) return false;
        general = value;
        break;
    }
    case 0x21: {
        const auto value = debug_read(vcpu.arch, special);
        if (!value) return false;
        general = *value;
        break;
    }
    case 0x22:
        if (const Status written = write_control(vcpu, special, before); !written)
            return written.error() == Errno::restart; // executed again then
        break;
    default:
        if (!debug_write(vcpu.arch, special, before)) return false;
        break;
    }
    retire(regs, in.length);
    return true;
}

bool emulate_two_byte(Vcpu& vcpu, const Instruction& in) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    constexpr std::uint8_t modrm_xsetbv = 0xd1;
    switch (in.opcode) {
    case 0x01:
        if (in.modrm != modrm_xsetbv || static_cast<std::uint32_t>(regs.rcx) != 0 ||
            !fpu_set_xcr0(vcpu.arch, pair(regs)))
            return false;
        break;
    case 0x06: // clts
        fpu_set_task_switched(vcpu.arch, false);
        break;
    case 0x08:
    case 0x09: // invd, wbinvd: the guest has no uncached view of its memory
        break;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23: return emulate_register_move(vcpu, in);
    case 0x30:
        if (!guest_write_msr(vcpu, static_cast<std::uint32_t>(regs.rcx), pair(regs))) return false;
        break;
    case 0x32: {
        std::uint64_t value = 0;
        if (!guest_read_msr(vcpu, static_cast<std::uint32_t>(regs.rcx), value)) {
            if (vcpu.arch.traps[v_gp] != 0) return false;
            value = 0; // before the guest can take a #GP, reading is harmless
        }
        set_pair(regs, value);
        break;
    }
    default: return false;
    }
    retire(regs, in.length);
    return true;
}

bool emulate_privileged(Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    const Code code = fetch(arch.regs.rip);
    const std::optional<Instruction> in = decode_instruction(code.span());
    if (!in) return false;
    const bool is_io =
        !in->two_byte && ((in->opcode >= 0x6c && in->opcode <= 0x6f) || (in->opcode >= 0xe4 && in->opcode <= 0xe7) ||
                          (in->opcode >= 0xec && in->opcode <= 0xef));
    if (is_io) return emulate_io(vcpu, *in, code);
    if (arch.user_mode) return false;
    if (in->two_byte) return emulate_two_byte(vcpu, *in);
    if (in->opcode == 0xfa || in->opcode == 0xfb) { // cli, sti: events have a mask of their own
        retire(arch.regs, in->length);
        return true;
    }
    return false;
}

/// INT n: the error code names the IDT entry; the guest's table decides who may call it.
bool reflect_software_interrupt(Vcpu& vcpu) noexcept {
    constexpr std::uint32_t external = 1, from_idt = 2;
    const std::uint32_t code = vcpu.arch.regs.error_code;
    if ((code & (external | from_idt)) != from_idt) return false;
    const unsigned vector = code >> 3 & 0xff;
    const std::uint64_t trap = vcpu.arch.traps[vector];
    const unsigned privilege = vcpu.arch.user_mode ? 3 : 1;
    if (trap >> 16 == 0 || (trap & CERO_TRAP_DPL_MASK) < privilege) return false;
    vcpu.arch.regs.rip += 2;
    inject_exception(vcpu, vector);
    return true;
}

} // namespace

void handle_general_protection(Vcpu& vcpu) noexcept {
    const std::uint32_t code = vcpu.arch.regs.error_code;
    if (code == 0 ? emulate_privileged(vcpu) : reflect_software_interrupt(vcpu)) return;
    inject_exception(vcpu, v_gp, code);
}

// ud2, "xen", cpuid: seven bytes, compared as a word.
constexpr unsigned forced_cpuid_length = 7;

bool is_forced_cpuid(Vcpu& vcpu) noexcept {
    constexpr std::uint64_t expected = 0xa20f'6e65'780b'0f, mask = ~0ull >> 8;
    const std::uint64_t at = vcpu.arch.regs.rip; // where the guest has just executed: not the hypervisor's
    std::uint64_t bytes = 0;
    open_guest_access();
    const bool whole = load_guest_word(bytes, at);
    close_guest_access();
    return (whole || copy_from_guest(&bytes, GuestVirt{at}, forced_cpuid_length)) && (bytes & mask) == expected;
}

void emulate_forced_cpuid(Vcpu& vcpu) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    const CpuidResult result =
        guest_cpuid(vcpu, static_cast<std::uint32_t>(regs.rax), static_cast<std::uint32_t>(regs.rcx));
    regs.rax = result.eax;
    regs.rbx = result.ebx;
    regs.rcx = result.ecx;
    regs.rdx = result.edx;
    retire(regs, forced_cpuid_length);
}

bool handle_device_not_available(Vcpu& vcpu) noexcept {
    // TS is on only because the guest has set it; the handler runs with it off.
    if (!vcpu.arch.task_switched) return true;
    fpu_set_task_switched(vcpu.arch, false);
    return false;
}

bool emulate_pte_store(Vcpu& vcpu, GuestVirt address) noexcept {
    GuestRegs& regs = vcpu.arch.regs;
    const Code code = fetch(regs.rip);
    const std::optional<StoreInstruction> store = decode_store(code.span());
    if (!store || (address.raw() & (store->bytes - 1u)) != 0) return false;
    const GuestVirt entry{address.raw() & ~7ull};
    const unsigned shift = static_cast<unsigned>(address.raw() & 7) * 8;
    const std::uint64_t mask = width_mask(store->bytes) << shift;
    constexpr unsigned max_races = 16;
    for (unsigned n = 0; n < max_races; ++n) {
        std::uint64_t old = 0;
        if (!copy_from_guest(&old, entry, sizeof old)) return false;
        const std::uint64_t part = (old & mask) >> shift;
        const StoreEffect effect = store_effect(*store, regs, part);
        const std::uint64_t value = (old & ~mask) | (effect.value << shift & mask);
        const Status status = effect.stores ? core::guest_pte_store(vcpu, entry, old, value)
                                            : core::guest_pte_store(vcpu, entry, old, old);
        if (status) {
            retire_store(*store, regs, part);
            return true;
        }
        if (status.error() != Errno::again) return status.error() == Errno::restart;
    }
    return true; // the entry keeps changing under us: the instruction is executed again
}

} // namespace cero::arch
