// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/trap/bounce.hpp>

#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

/// Exchanges the GS bases and loads the mode's tables.
[[gnu::always_inline]] inline void set_mode(ArchVcpu& vcpu, bool user) noexcept {
    vcpu.user_mode = user;
    if ((vcpu.cr4 & cr4::fsgsbase) != 0) { // its kernel uses FSGSBASE: so can we
        vcpu.gs_base_inactive = exchange_guest_gs_base(vcpu.gs_base_inactive);
    } else {
        const std::uint64_t active = read_msr(Msr::kernel_gs_base);
        write_msr(Msr::kernel_gs_base, vcpu.gs_base_inactive);
        vcpu.gs_base_inactive = active;
    }
    write_cr3(user ? vcpu.user_cr3 : vcpu.kernel_cr3);
}

[[gnu::cold, gnu::noinline]] bool refuse_stack(Vcpu& vcpu, std::uint64_t sp, const char* why) noexcept {
    vcpu.domain->crash("vcpu %u cannot take a trap: its kernel's stack at %#lx %s", vcpu.id.raw(), sp, why);
    return true;
}

/// Into kernel mode, with a frame on its stack: rcx, r11, `extra`, rip to ss, upwards. Precondition: handler is not 0.
template <typename... Words>
[[gnu::always_inline]] inline bool enter_guest_kernel(Vcpu& vcpu, std::uint64_t handler, bool mask_events,
                                                      Words... extra) noexcept {
    ArchVcpu& arch = vcpu.arch;
    GuestRegs& regs = arch.regs;
    std::uint64_t top = regs.rsp & ~15ull, cs = regs.cs & 0xfffc;
    if (arch.user_mode) {
        top = arch.kernel_sp & ~15ull;
        cs = regs.cs & 0xffff;
        set_mode(arch, false);
    }
    const std::uint64_t sp = top - (7 + sizeof...(extra)) * 8;
    const std::uint64_t mask = arch.info->evtchn_upcall_mask;
    const std::uint64_t flags =
        (regs.rflags & ~(rflags::interrupt | rflags::iopl)) | (mask == 0 ? rflags::interrupt : 0);
    if (in_hypervisor_hole(sp)) [[unlikely]]
        return refuse_stack(vcpu, sp, "is the hypervisor's");
    open_guest_access();
    std::uint64_t at = sp + 8;
    const bool good = store_guest_word(sp, regs.rcx) && store_guest_word(sp + 8, regs.r11) &&
                      (store_guest_word(at += 8, extra) && ...) && store_guest_word(top - 40, regs.rip) &&
                      store_guest_word(top - 32, cs | mask << 32) && store_guest_word(top - 24, flags) &&
                      store_guest_word(top - 16, regs.rsp) && store_guest_word(top - 8, regs.ss);
    close_guest_access();
    if (!good) [[unlikely]]
        return refuse_stack(vcpu, sp, "cannot be written");
    if (mask_events) arch.info->evtchn_upcall_mask = 1;
    regs.cs = CERO_FLAT_RING3_CS64;
    regs.ss = CERO_FLAT_RING3_SS;
    regs.rip = handler;
    regs.rsp = sp;
    regs.rflags &= ~(rflags::ac | rflags::vm | rflags::rf | rflags::nt | rflags::tf);
    return true;
}

} // namespace

void enter_user_mode(ArchVcpu& vcpu) noexcept { set_mode(vcpu, true); }

bool bounce(Vcpu& vcpu, std::uint64_t handler, bool mask_events) noexcept {
    return enter_guest_kernel(vcpu, handler, mask_events);
}

bool bounce_with_code(Vcpu& vcpu, std::uint64_t handler, bool mask_events, std::uint64_t code) noexcept {
    return enter_guest_kernel(vcpu, handler, mask_events, code);
}

void bounce_failsafe(Vcpu& vcpu, const Selectors& wanted) noexcept {
    // A null selector takes its base along, and the kernel's per-CPU data hangs on one.
    const std::uint64_t fs_base = read_msr(Msr::fs_base), gs_base = read_msr(Msr::kernel_gs_base);
    drop_selectors();
    write_msr(Msr::fs_base, fs_base);
    write_msr(Msr::kernel_gs_base, gs_base);
    const Callback& failsafe = vcpu.arch.failsafe;
    enter_guest_kernel(vcpu, failsafe.address, failsafe.mask_events, wanted.ds, wanted.es, wanted.fs, wanted.gs);
}

} // namespace cero::arch
