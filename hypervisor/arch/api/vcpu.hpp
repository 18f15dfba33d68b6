// SPDX-License-Identifier: BSD-2-Clause
// ArchVcpu, ArchDomain: what the processor layer keeps per vCPU and per domain.
#pragma once

#include <core/types.hpp>

#include <cero/abi/shared_info.h>
#include <cero/abi/trap.h>

namespace cero::arch {

/// The registers of a vCPU that is not executing. Entry code pushes into it from the end backwards;
/// the processor itself pushes rip..ss, so the end must be 16-byte aligned.
struct GuestRegs {
    std::uint64_t r15, r14, r13, r12, rbp, rbx; // preserved by C++: saved only on the slow path
    std::uint64_t r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    std::uint32_t error_code;
    std::uint32_t entry_vector; ///< exception or interrupt vector; 0x100 after SYSCALL
    std::uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(GuestRegs) == 168);

/// Bits of ArchVcpu::exit_work: what the way back to the guest must do first.
enum ExitWork : std::uint32_t {
    exit_nmi = 1u << 0,        ///< a virtual NMI waits
    exit_time_areas = 1u << 1, ///< hv-core: runstate or time area to be written on the next kernel-mode exit
};

struct Callback {
    std::uint64_t address;
    bool mask_events;
};

inline constexpr unsigned gdt_guest_pages = CERO_FIRST_RESERVED_GDT_PAGE;
inline constexpr unsigned ldt_pages = 16;
inline constexpr unsigned xsave_area_size = 832; ///< x87, SSE, AVX: the components of guest_xcr0_mask
inline constexpr std::uint64_t guest_xcr0_mask = 7;

struct alignas(64) ArchVcpu {
    std::uint64_t align_regs_end; ///< not used: puts the end of regs on a 16-byte boundary
    GuestRegs regs;
    cero_vcpu_info* info;    ///< where events are signalled; maintained by hv-core, never null once runnable
    std::uint32_t exit_work; ///< ExitWork bits; set by others only while the vCPU is not running,
                             ///< or followed by a kick
    bool user_mode;          ///< the mode flag of the ABI
    bool nmi_masked;
    bool task_switched; ///< guest's CR0.TS
    std::uint8_t guest_iopl;

    std::uint64_t kernel_cr3; ///< physical address of the kernel's L4; hv-mm holds the type reference
    std::uint64_t user_cr3;   ///< 0 = none
    std::uint64_t kernel_sp;
    std::uint64_t kernel_ss;
    Callback event, failsafe, syscall, syscall32, sysenter, nmi;
    std::uint64_t traps[256]; ///< handler address << 16 | CERO_TRAP_ flags; 0 = none
    std::uint64_t fs_base, gs_base,
        gs_base_inactive;         ///< valid while not loaded; inactive: other mode's
    std::uint16_t ds, es, fs, gs; ///< selectors; valid while not loaded

    MachineFrame gdt_frames[gdt_guest_pages]; ///< hv-mm holds a descriptor-page reference on each
    std::uint32_t gdt_entries;
    std::uint32_t ldt_entries;
    std::uint64_t ldt_base;
    MachineFrame ldt_frames[ldt_pages]; ///< mapped lazily; meaningful where ldt_mapped has the bit
    std::uint32_t ldt_mapped;

    std::uint64_t dr[4], dr6, dr7;
    std::uint64_t cr4; ///< guest's view of the bits that it controls
    std::uint64_t xcr0;
    alignas(64) unsigned char fpu[xsave_area_size];
};
static_assert(offsetof(ArchVcpu, regs) % 16 == 8);

struct ArchDomain {
    bool control; ///< control domain: real ports, machine-check and platform MSRs
};

} // namespace cero::arch
