// SPDX-License-Identifier: BSD-2-Clause
// Hypercalls of the processor layer: traps, callbacks, stacks, descriptor tables, segment bases.
#include <arch/api/guest_ops.hpp>

#include <arch/api/context.hpp>
#include <arch/x86_64/context/debug.hpp>
#include <arch/x86_64/context/fpu.hpp>
#include <arch/x86_64/context/selectors.hpp>
#include <arch/x86_64/context/windows.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <core/domain/domain.hpp>
#include <core/guest/guest_ptr.hpp>
#include <core/paging/descriptors.hpp>

namespace cero::arch {
namespace {

constexpr std::uint64_t pack_trap(const cero_trap_info& trap) noexcept {
    return trap.address << 16 | (trap.flags & (CERO_TRAP_DPL_MASK | CERO_TRAP_MASK_EVENTS));
}

Callback* callback_of(ArchVcpu& vcpu, std::uint16_t type) noexcept {
    switch (type) {
    case CERO_CALLBACKTYPE_event: return &vcpu.event;
    case CERO_CALLBACKTYPE_failsafe: return &vcpu.failsafe;
    case CERO_CALLBACKTYPE_syscall: return &vcpu.syscall;
    case CERO_CALLBACKTYPE_nmi: return &vcpu.nmi;
    case CERO_CALLBACKTYPE_sysenter: return &vcpu.sysenter;
    case CERO_CALLBACKTYPE_syscall32: return &vcpu.syscall32;
    default: return nullptr;
    }
}

} // namespace

Status set_trap_table(Vcpu& current, std::uint64_t traps) noexcept {
    ArchVcpu& arch = current.arch;
    if (traps == 0) {
        for (std::uint64_t& trap : arch.traps) trap = 0;
        return {};
    }
    GuestPtr<cero_trap_info> at{traps};
    for (unsigned n = 0; n < 256; ++n, at = at.at(1)) {
        const cero_trap_info trap = TRY(at.read());
        if (trap.address == 0) return {};
        if (!is_canonical(trap.address)) return Errno::inval;
        arch.traps[trap.vector] = pack_trap(trap);
    }
    return {};
}

Status set_gdt(Vcpu& current, std::uint64_t frames, std::uint64_t entries) noexcept {
    if (entries > CERO_FIRST_RESERVED_GDT_ENTRY) return Errno::inval;
    ArchVcpu& arch = current.arch;
    const auto pages = static_cast<unsigned>((entries + 511) / 512);
    std::uint64_t wanted[gdt_guest_pages] = {};
    if (!copy_from_guest(wanted, GuestVirt{frames}, pages * sizeof(std::uint64_t))) return Errno::fault;
    for (unsigned n = 0; n < pages; ++n) {
        const Status status = get_descriptor_frame(*current.domain, MachineFrame{wanted[n]});
        if (!status) {
            while (n-- > 0) put_descriptor_frame(MachineFrame{wanted[n]});
            return status.error();
        }
    }
    const unsigned old_pages = (arch.gdt_entries + 511) / 512;
    MachineFrame old[gdt_guest_pages];
    for (unsigned n = 0; n < old_pages; ++n) old[n] = arch.gdt_frames[n];
    for (unsigned n = 0; n < pages; ++n) arch.gdt_frames[n] = MachineFrame{wanted[n]};
    arch.gdt_entries = static_cast<std::uint32_t>(entries);
    load_gdt(current);
    for (unsigned n = 0; n < old_pages; ++n) put_descriptor_frame(old[n]);
    return {};
}

Status stack_switch(Vcpu& current, std::uint64_t ss, std::uint64_t sp) noexcept {
    current.arch.kernel_ss = (ss & 0xffff) | 3;
    current.arch.kernel_sp = sp;
    return {};
}

Status set_callbacks(Vcpu& current, std::uint64_t event, std::uint64_t failsafe, std::uint64_t syscall) noexcept {
    if (!is_canonical(event) || !is_canonical(failsafe) || !is_canonical(syscall)) return Errno::inval;
    current.arch.event = {event, true};
    current.arch.failsafe.address = failsafe;
    current.arch.syscall.address = syscall;
    return {};
}

Status fpu_taskswitch(Vcpu& current, std::uint64_t set) noexcept {
    fpu_set_task_switched(current.arch, set != 0);
    return {};
}

Status set_debugreg(Vcpu& current, std::uint64_t number, std::uint64_t value) noexcept {
    if (number > 7) return Errno::inval;
    return debug_write(current.arch, static_cast<unsigned>(number), value);
}

Result<std::int64_t> get_debugreg(Vcpu& current, std::uint64_t number) noexcept {
    if (number > 7) return Errno::inval;
    const std::uint64_t value = TRY(debug_read(current.arch, static_cast<unsigned>(number)));
    return static_cast<std::int64_t>(value);
}

Status set_segment_base(Vcpu& current, std::uint64_t which, std::uint64_t base) noexcept {
    if (which != CERO_SEGBASE_GS_USER_SEL && !is_canonical(base)) return Errno::inval;
    switch (which) {
    case CERO_SEGBASE_FS: write_msr(Msr::fs_base, base); return {};
    case CERO_SEGBASE_GS_USER: // the base that is inactive while the kernel runs
        current.arch.gs_base_inactive = base;
        return {};
    case CERO_SEGBASE_GS_KERNEL: write_msr(Msr::kernel_gs_base, base); return {};
    case CERO_SEGBASE_GS_USER_SEL: {
        const std::uint64_t kernel_base = read_msr(Msr::kernel_gs_base);
        const auto selector = static_cast<std::uint16_t>(base);
        static_cast<void>(load_selector(current, load_gs, selector > 3 ? selector | 3 : selector)); // bad: null
        current.arch.gs_base_inactive = read_msr(Msr::kernel_gs_base);
        write_msr(Msr::kernel_gs_base, kernel_base);
        return {};
    }
    default: return Errno::inval;
    }
}

Status nmi_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept {
    constexpr std::uint64_t command_register = 0, command_unregister = 1;
    if (command == command_register) {
        const std::uint64_t address = TRY(GuestPtr<std::uint64_t>{argument}.read());
        if (!is_canonical(address)) return Errno::inval;
        current.arch.nmi = {address, true};
        return {};
    }
    if (command != command_unregister) return Errno::nosys;
    current.arch.nmi = {};
    return {};
}

Status callback_op(Vcpu& current, std::uint64_t command, std::uint64_t argument) noexcept {
    if (command == CERO_CALLBACKOP_register) {
        const auto request = TRY(GuestPtr<cero_callback_register>{argument}.read());
        Callback* callback = callback_of(current.arch, request.type);
        if (callback == nullptr) return Errno::nosys;
        if (!is_canonical(request.address)) return Errno::inval;
        const bool mask = request.type == CERO_CALLBACKTYPE_event || (request.flags & CERO_CALLBACKF_mask_events) != 0;
        *callback = {request.address, mask};
        return {};
    }
    if (command != CERO_CALLBACKOP_unregister) return Errno::nosys;
    const auto request = TRY(GuestPtr<cero_callback_unregister>{argument}.read());
    if (callback_of(current.arch, request.type) == nullptr) return Errno::nosys;
    if (request.type != CERO_CALLBACKTYPE_nmi) return Errno::inval;
    current.arch.nmi = {};
    return {};
}

} // namespace cero::arch
