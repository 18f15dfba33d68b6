// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/trap/bounce.hpp>

#include <arch/x86_64/context/selectors.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/trap/guest_words.hpp>
#include <core/domain/domain.hpp>

namespace cero::arch {
namespace {

void exchange_gs(ArchVcpu& vcpu) noexcept {
    const std::uint64_t active = read_msr(Msr::kernel_gs_base);
    write_msr(Msr::kernel_gs_base, vcpu.gs_base_inactive);
    vcpu.gs_base_inactive = active;
}

/// Writes words downwards from an aligned stack pointer.
class FrameWriter {
public:
    explicit FrameWriter(std::uint64_t sp) noexcept : sp_{sp} {}
    [[gnu::always_inline]] void push(std::uint64_t word) noexcept {
        sp_ -= 8;
        good_ = good_ && store_guest_word(sp_, word);
    }
    [[nodiscard]] bool good() const noexcept { return good_; }
    [[nodiscard]] std::uint64_t sp() const noexcept { return sp_; }

private:
    std::uint64_t sp_;
    bool good_{true};
};

struct Origin {
    std::uint64_t sp, cs, rflags;
};

[[gnu::always_inline]] inline Origin begin_bounce(ArchVcpu& vcpu) noexcept {
    const GuestRegs& regs = vcpu.regs;
    Origin origin{regs.rsp & ~15ull, regs.cs & 0xfffc, 0};
    if (vcpu.user_mode) {
        origin.sp = vcpu.kernel_sp & ~15ull;
        origin.cs = regs.cs & 0xffff;
        enter_kernel_mode(vcpu);
    }
    const std::uint64_t mask = vcpu.info->evtchn_upcall_mask;
    origin.cs |= mask << 32;
    origin.rflags = (regs.rflags & ~(rflags::interrupt | rflags::iopl)) | (mask == 0 ? rflags::interrupt : 0);
    return origin;
}

[[gnu::always_inline]] inline void push_origin(FrameWriter& frame, const GuestRegs& regs,
                                               const Origin& origin) noexcept {
    frame.push(regs.ss);
    frame.push(regs.rsp);
    frame.push(origin.rflags);
    frame.push(origin.cs);
    frame.push(regs.rip);
}

[[gnu::always_inline]] inline void finish_bounce(Vcpu& vcpu, const FrameWriter& frame, std::uint64_t handler,
                                                 bool mask_events) noexcept {
    close_guest_access();
    if (!frame.good() || handler == 0) [[unlikely]] {
        vcpu.domain->crash("vcpu %u cannot take a trap: handler %#lx, kernel stack %#lx", vcpu.id.raw(), handler,
                           frame.sp());
        return;
    }
    GuestRegs& regs = vcpu.arch.regs;
    if (mask_events) vcpu.arch.info->evtchn_upcall_mask = 1;
    regs.cs = CERO_FLAT_RING3_CS64;
    regs.ss = CERO_FLAT_RING3_SS;
    regs.rip = handler;
    regs.rsp = frame.sp();
    regs.rflags &= ~(rflags::ac | rflags::vm | rflags::rf | rflags::nt | rflags::tf);
}

constexpr std::uint64_t largest_frame = 96;
bool stack_is_guests(std::uint64_t sp) noexcept { return !in_hypervisor_hole(sp - largest_frame); }

void crash_bad_stack(Vcpu& vcpu, std::uint64_t sp) noexcept {
    vcpu.domain->crash("vcpu %u: kernel stack %#lx is the hypervisor's", vcpu.id.raw(), sp);
}

} // namespace

void enter_kernel_mode(ArchVcpu& vcpu) noexcept {
    vcpu.user_mode = false;
    exchange_gs(vcpu);
    write_cr3(vcpu.kernel_cr3);
}

void enter_user_mode(ArchVcpu& vcpu) noexcept {
    vcpu.user_mode = true;
    exchange_gs(vcpu);
    write_cr3(vcpu.user_cr3);
}

void bounce(Vcpu& vcpu, std::uint64_t handler, bool mask_events) noexcept {
    ArchVcpu& arch = vcpu.arch;
    const Origin origin = begin_bounce(arch);
    if (!stack_is_guests(origin.sp)) [[unlikely]]
        return crash_bad_stack(vcpu, origin.sp);
    FrameWriter frame{origin.sp};
    open_guest_access();
    push_origin(frame, arch.regs, origin);
    frame.push(arch.regs.r11);
    frame.push(arch.regs.rcx);
    finish_bounce(vcpu, frame, handler, mask_events);
}

void bounce_with_code(Vcpu& vcpu, std::uint64_t handler, bool mask_events, std::uint64_t code) noexcept {
    ArchVcpu& arch = vcpu.arch;
    const Origin origin = begin_bounce(arch);
    if (!stack_is_guests(origin.sp)) [[unlikely]]
        return crash_bad_stack(vcpu, origin.sp);
    FrameWriter frame{origin.sp};
    open_guest_access();
    push_origin(frame, arch.regs, origin);
    frame.push(code);
    frame.push(arch.regs.r11);
    frame.push(arch.regs.rcx);
    finish_bounce(vcpu, frame, handler, mask_events);
}

void bounce_failsafe(Vcpu& vcpu) noexcept {
    ArchVcpu& arch = vcpu.arch;
    const Selectors selectors = take_selectors();
    const Origin origin = begin_bounce(arch);
    if (!stack_is_guests(origin.sp)) [[unlikely]]
        return crash_bad_stack(vcpu, origin.sp);
    FrameWriter frame{origin.sp};
    open_guest_access();
    push_origin(frame, arch.regs, origin);
    frame.push(selectors.gs);
    frame.push(selectors.fs);
    frame.push(selectors.es);
    frame.push(selectors.ds);
    frame.push(arch.regs.r11);
    frame.push(arch.regs.rcx);
    finish_bounce(vcpu, frame, arch.failsafe.address, arch.failsafe.mask_events);
}

} // namespace cero::arch
