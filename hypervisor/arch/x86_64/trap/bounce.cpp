// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/trap/bounce.hpp>

#include <arch/x86_64/context/selectors.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t largest_frame = 96;

/// Exchanges the GS bases and loads the mode's tables.
void set_mode(ArchVcpu& vcpu, bool user) noexcept {
    vcpu.user_mode = user;
    const std::uint64_t active = read_msr(Msr::kernel_gs_base);
    write_msr(Msr::kernel_gs_base, vcpu.gs_base_inactive);
    vcpu.gs_base_inactive = active;
    write_cr3(user ? vcpu.user_cr3 : vcpu.kernel_cr3);
}

/// Into kernel mode, with a frame on its stack, which is written downwards: ss to rip, `extra`, r11, rcx.
template <typename... Words>
[[gnu::always_inline]] inline void enter_guest_kernel(Vcpu& vcpu, std::uint64_t handler, bool mask_events,
                                                      Words... extra) noexcept {
    ArchVcpu& arch = vcpu.arch;
    GuestRegs& regs = arch.regs;
    std::uint64_t sp = regs.rsp & ~15ull, cs = regs.cs & 0xfffc;
    if (arch.user_mode) {
        sp = arch.kernel_sp & ~15ull;
        cs = regs.cs & 0xffff;
        set_mode(arch, false);
    }
    const std::uint64_t mask = arch.info->evtchn_upcall_mask;
    const std::uint64_t flags =
        (regs.rflags & ~(rflags::interrupt | rflags::iopl)) | (mask == 0 ? rflags::interrupt : 0);
    if (in_hypervisor_hole(sp - largest_frame)) [[unlikely]]
        return vcpu.domain->crash("vcpu %u: kernel stack %#lx is the hypervisor's", vcpu.id.raw(), sp);
    const auto push = [&](std::uint64_t word) __attribute__((always_inline)) {
        return store_guest_word(sp -= 8, word);
    };
    open_guest_access();
    const bool good = push(regs.ss) && push(regs.rsp) && push(flags) && push(cs | mask << 32) && push(regs.rip) &&
                      (push(extra) && ...) && push(regs.r11) && push(regs.rcx);
    close_guest_access();
    if (!good || handler == 0) [[unlikely]]
        return vcpu.domain->crash("vcpu %u cannot take a trap: handler %#lx, kernel stack %#lx", vcpu.id.raw(), handler,
                                  sp);
    if (mask_events) arch.info->evtchn_upcall_mask = 1;
    regs.cs = CERO_FLAT_RING3_CS64;
    regs.ss = CERO_FLAT_RING3_SS;
    regs.rip = handler;
    regs.rsp = sp;
    regs.rflags &= ~(rflags::ac | rflags::vm | rflags::rf | rflags::nt | rflags::tf);
}

} // namespace

void enter_user_mode(ArchVcpu& vcpu) noexcept { set_mode(vcpu, true); }

void bounce(Vcpu& vcpu, std::uint64_t handler, bool mask_events) noexcept {
    enter_guest_kernel(vcpu, handler, mask_events);
}

void bounce_with_code(Vcpu& vcpu, std::uint64_t handler, bool mask_events, std::uint64_t code) noexcept {
    enter_guest_kernel(vcpu, handler, mask_events, code);
}

void bounce_failsafe(Vcpu& vcpu) noexcept {
    const auto [ds, es, fs, gs] = take_selectors();
    const Callback& failsafe = vcpu.arch.failsafe;
    enter_guest_kernel(vcpu, failsafe.address, failsafe.mask_events, gs, fs, es, ds);
}

} // namespace cero::arch
